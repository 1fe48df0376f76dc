"""The formats of log lines, and that no logged value can forge a line."""

import json
import logging
import re
import sys
from typing import Any

import pytest

from handlers.logs.log_format import FORMATS, formatter
from tests.cases import cases

EVIL = [
    "a\nb",
    "a\r2026-01-01T00:00:00.000Z INFO all is well",
    "a\x1b[31mred",
    "a\x85b",
    "a\u2028b",
    "a\u202eb",
    "a\0b",
    "a\ud800b",
]


def record(message: str, *arguments: object, error: BaseException | None = None, **extra: Any) -> logging.LogRecord:
    given = (type(error), error, error.__traceback__) if error else None
    made = logging.LogRecord("orders", logging.WARNING, "file.py", 1, message, arguments, given)
    made.created = 1_740_830_400.25
    vars(made).update(extra)
    return made


def raised(text: str) -> BaseException:
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


def test_text_has_time_level_message_and_fields() -> None:
    show = formatter("text").format
    assert show(record("%d orders", 3)) == "2025-03-01T12:00:00.250Z WARNING 3 orders"
    fields = {"status": None, "bytes": 12}
    assert show(record("request", fields=fields)) == "2025-03-01T12:00:00.250Z WARNING request status=- bytes=12"
    lines = show(record("it broke\nin a file", fields=fields))
    assert lines == r"2025-03-01T12:00:00.250Z WARNING it broke status=- bytes=12\nin a file"


def test_json_has_time_level_message_and_fields_by_name() -> None:
    assert json.loads(formatter("json").format(record("%d orders", 3, fields={"status": None, "bytes": 12}))) == {
        "time": "2025-03-01T12:00:00.250Z",
        "level": "WARNING",
        "message": "3 orders",
        "status": None,
        "bytes": 12,
    }


def test_a_traceback_is_indented_in_text_and_a_string_in_json() -> None:
    text, _, details = formatter("text").format(record("it broke", error=raised("why"))).partition("\n")
    assert text == "2025-03-01T12:00:00.250Z WARNING it broke"
    assert re.fullmatch(r'    Traceback .*:\n      File ".*\n(      .*\n)+    ValueError: why', details)
    line = formatter("json").format(record("it broke", error=raised("why")))
    assert json.loads(line)["traceback"].startswith("Traceback (most recent call last):\n")
    assert json.loads(line)["traceback"].endswith("\nValueError: why")


@cases("log_format", FORMATS)
@cases("evil", EVIL)
def test_line_breaks_and_control_characters_are_escaped(log_format: str, evil: str) -> None:
    show = formatter(log_format).format
    for line in (show(record("got %s", evil)), show(record(evil)), show(record("x", fields={"path": evil}))):
        assert line.isprintable()
        line.encode(sys.getdefaultencoding())
    first, *others = show(record("it broke", error=raised(evil))).split("\n")
    assert "it broke" in first
    assert all(line.startswith("    ") and line.isprintable() for line in others)


@pytest.mark.parametrize("log_format", FORMATS)
def test_keys_are_redacted_in_messages_fields_and_tracebacks(log_format: str) -> None:
    key = "orderskey_" + "k" * 43
    line = formatter(log_format).format(record("got %s", key, error=raised(key), fields={"path": key}))
    assert key not in line
    assert line.count("orderskey_...") >= 3
