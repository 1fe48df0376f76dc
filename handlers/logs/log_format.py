"""Formats log lines as text or as JSON objects. Escapes logged values, so that none of them can forge a line.

A record's `fields` (a mapping, passed as `extra`) are shown by name. Usable on any thread.
"""

import json
import logging
import time
from collections.abc import Mapping
from typing import Any

from handlers.security.api_keys import without_keys

TEXT = "text"
JSON = "json"
FORMATS = (TEXT, JSON)


class TextFormatter(logging.Formatter):
    """Time, level, message and fields on one line. The lines of a traceback follow it, indented."""

    def format(self, record: logging.LogRecord) -> str:
        message = _printable(record.getMessage())
        fields = "".join(f" {name}={'-' if value is None else value}" for name, value in _fields_of(record).items())
        lines = [f"{_time_of(record)} {record.levelname} {message}{_printable(fields)}"]
        lines += ["    " + _printable(line) for line in _details_of(self, record)]
        return without_keys("\n".join(lines))


class JsonFormatter(logging.Formatter):
    """One object: `time`, `level`, `message`, the fields, and for an exception its `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {"time": _time_of(record), "level": record.levelname, "message": record.getMessage()}
        entry |= _fields_of(record)
        if details := _details_of(self, record):
            entry["traceback"] = "\n".join(details)
        return without_keys(json.dumps(entry))


def check_format(text: str) -> str:
    """The text, if it is one of `FORMATS`. Raises ValueError."""
    if text not in FORMATS:
        raise ValueError(f"must be {TEXT} or {JSON}")
    return text


def configure_logging(log_format: str) -> None:
    """Logs to stderr in one of `FORMATS`: the server's own lines from INFO on, all others from WARNING on."""
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(log_format))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("orders").setLevel(logging.INFO)
    # urllib3's warnings contain whole URLs, and a webhook's URL may contain a token.
    logging.getLogger("urllib3").setLevel(logging.ERROR)


def formatter(name: str) -> logging.Formatter:
    """The formatter of one of `FORMATS`."""
    return JsonFormatter() if name == JSON else TextFormatter()


def _time_of(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"


def _fields_of(record: logging.LogRecord) -> Mapping[str, Any]:
    return getattr(record, "fields", {})


def _details_of(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    parts = [formatter.formatException(record.exc_info)] if record.exc_info else []
    parts += [formatter.formatStack(record.stack_info)] if record.stack_info else []
    return "\n".join(parts).split("\n") if parts else []


def _printable(text: str) -> str:
    """The text with unprintable characters escaped, such as line breaks and the control characters of terminals."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
