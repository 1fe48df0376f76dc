"""Formats log lines as text or as JSON objects. Escapes logged values, so that no value can forge a line.

Logging calls pass named values as `extra={"fields": {...}}`. Usable on any thread.
"""

import functools
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from handlers.security.api_keys import without_keys

TEXT = "text"
JSON = "json"
FORMATS = (TEXT, JSON)


class TextFormatter(logging.Formatter):
    """Time, level, message and fields on one line. The lines of a traceback follow this line, indented."""

    def format(self, record: logging.LogRecord) -> str:
        line = text_line(record.created, record.levelname, record.getMessage(), _fields_of(record))
        return "\n".join([line, *("    " + without_keys(_printable(each)) for each in _details_of(self, record))])


class JsonFormatter(logging.Formatter):
    """One JSON object: `time`, `level`, `message`, the fields, and `traceback` if there is an exception."""

    def format(self, record: logging.LogRecord) -> str:
        details = _details_of(self, record)
        fields = {**_fields_of(record), **({"traceback": "\n".join(details)} if details else {})}
        return json_line(record.created, record.levelname, record.getMessage(), fields)


def text_line(time_s: float, level: str, message: str, fields: Mapping[str, Any]) -> str:
    """A line of text. The fields follow the first line of the message. `time_s` is in seconds since 1970, UTC."""
    shown = "".join([f" {name}={'-' if value is None else value}" for name, value in fields.items()])
    first, line_feed, rest = message.partition("\n")
    return text_lines(time_s, level, [first + shown + line_feed + rest])


def text_lines(time_s: float, level: str, messages: Iterable[str]) -> str:
    """A line of text for each message, with line feeds between the lines."""
    begin = f"{_time_text(time_s)} {level} "
    return without_keys("\n".join([begin + _printable(message) for message in messages]))


def json_line(time_s: float, level: str, message: str, fields: Mapping[str, Any]) -> str:
    """A JSON object on one line. `time_s` is in seconds since 1970, UTC."""
    return without_keys(json.dumps({"time": _time_text(time_s), "level": level, "message": message, **fields}))


LINES: Mapping[str, Callable[[float, str, str, Mapping[str, Any]], str]] = {TEXT: text_line, JSON: json_line}
"""For each of `FORMATS`, the function that makes a line."""


def check_format(text: str) -> str:
    """Returns the text if it is one of `FORMATS`; otherwise raises ValueError."""
    if text not in FORMATS:
        raise ValueError(f"must be {TEXT} or {JSON}")
    return text


def formatter(name: str) -> logging.Formatter:
    """The formatter of one of `FORMATS`."""
    return JsonFormatter() if name == JSON else TextFormatter()


def _time_text(time_s: float) -> str:
    return "%s.%03dZ" % (_second_text(int(time_s)), time_s % 1 * 1_000)  # noqa: UP031 - faster than an f-string


@functools.lru_cache(maxsize=2)
def _second_text(time_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time_s))


def _fields_of(record: logging.LogRecord) -> Mapping[str, Any]:
    return getattr(record, "fields", {})


def _details_of(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    parts = [formatter.formatException(record.exc_info)] if record.exc_info else []
    parts += [formatter.formatStack(record.stack_info)] if record.stack_info else []
    return "\n".join(parts).split("\n") if parts else []


def _printable(text: str) -> str:
    """Escapes unprintable characters, such as line breaks and the control characters of terminals."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
