"""Rows in the text format of COPY have the values of the order, and a row with wrong values is not converted."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.listing import HIGHEST
from models.moving.conversion import Conversion, attempt
from models.order import Ending, Status

ROW: tuple[Any, ...] = (7, 70, 3, "[1,2]", 999_900, None, "Completed", 1, 2, None, 1_000, 1_500, None, 200, None)
COLUMNS = (
    "sequence", "order_id", "user_id", "item_ids", "total_amount", "metadata", "status", "attempts", "claims", "error",
    "created_us", "processed_us", "due_us", "claimed_after_us", "trace_headers",
)  # fmt: skip
ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}
CONVERSION = Conversion(node=5, due_later_us=60)


def row(**changes: object) -> tuple[Any, ...]:
    return tuple({**dict(zip(COLUMNS, ROW, strict=True)), **changes}.values())


def fields(line: str) -> list[str | None]:
    """The fields of a line, as PostgreSQL reads them."""
    assert line.endswith("\n")
    return [None if field == r"\N" else _unescaped(field) for field in line[:-1].split("\t")]


def _unescaped(field: str) -> str:
    characters = iter(field)
    return "".join(ESCAPES[next(characters)] if each == "\\" else each for each in characters)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
@example("\\N")
@example("\\.")
@example("\t\n\r\b\f\v\\")
def test_every_text_is_escaped(text: str) -> None:
    order, work, end = CONVERSION.order(row(metadata=text, error=text, status="Failed", trace_headers=text))
    assert fields(order) == ["7", "70", "3", "999900", "1000", "[1,2]", text, text]
    assert work == ""
    assert fields(end) == ["7", "1500", "1200", "1", "2", "f", text]
    line = attempt((7, 2, 1, None, 9, "failed", text))
    assert fields(line) == ["7", "2", "1", None, "9", "failed", text]


def test_an_error_with_nul_gets_a_replacement_character() -> None:
    _, _, end = CONVERSION.order(row(error="a\0b"))
    assert fields(end)[-1] == "a\ufffdb"


@pytest.mark.parametrize(
    ("changes", "node", "due"),
    [
        ({"status": "Pending"}, None, None),
        ({"status": "Pending", "due_us": 0}, None, "60"),
        ({"status": "Pending", "due_us": HIGHEST - 1}, None, str(HIGHEST)),
        ({"status": "Processing"}, "5", None),
    ],
)
def test_an_order_that_is_not_ended_is_in_work(changes: dict[str, object], node: str | None, due: str | None) -> None:
    _, work, end = CONVERSION.order(row(processed_us=None, claimed_after_us=None, **changes))
    assert fields(work) == ["7", "1000", node, None, due, "1", "2", None]
    assert end == ""


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
def test_an_order_that_is_ended_is_in_ends(status: Status) -> None:
    _, work, end = CONVERSION.order(row(status=status.value))
    assert work == ""
    assert fields(end) == [
        "7",
        "1500",
        "1200",
        "1",
        "2",
        {"Completed": "c", "Failed": "f", "Cancelled": "x"}[status],
        None,
    ]


@pytest.mark.parametrize(
    "changes",
    [
        *({name: "x"} for name in COLUMNS if name not in ("sequence", "metadata", "error", "trace_headers", "due_us")),
        *({name: 1.5} for name in COLUMNS if name not in ("sequence", "due_us")),
        *({name: None} for name in ("order_id", "user_id", "item_ids", "total_amount", "attempts", "claims", "status")),
        *({name: b"x"} for name in ("metadata", "error", "trace_headers", "item_ids")),
        {"item_ids": "{}"},
        {"item_ids": '["1"]'},
        {"status": "Pending", "due_us": "x"},
    ],
    ids=str,
)
def test_a_row_with_a_wrong_value_is_not_converted(changes: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        CONVERSION.order(row(**changes))


@pytest.mark.parametrize("wrong", range(7))
def test_an_attempt_with_a_wrong_value_is_not_converted(wrong: int) -> None:
    values: list[Any] = [7, 2, 1, 3, 9, Ending.FAILED.value, "down"]
    attempt(tuple(values))
    values[wrong] = b"x"
    with pytest.raises((ValueError, TypeError)):
        attempt(tuple(values))
