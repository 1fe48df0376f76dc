"""Tests comparing sent orders with those that the server returns."""

from load.orders.comparison import (
    decode_json,
    difference_in,
    find_contradiction,
)
from tests.cases import cases

SENT = (
    '{"order_id": 1, "user_id": 2, "item_ids": [3, 3, 4], "total_amount": 10.10, "metadata": {"a": [1.50, true, null]}}'
)
FOUND = SENT[:-1] + ', "status": "Completed"}'


def test_an_order_as_sent_has_no_difference() -> None:
    assert difference_in(decode_json(SENT.encode()), decode_json(FOUND.encode())) == ""


@cases(
    ("given_back", "instead"),
    [("10.10", "10.1"), ("10.10", "10.1000"), ("10.10", "1010e-2"), ("1.50", "1.5"), ("1.50", "15e-1")],
)
def test_numbers_are_the_same_by_value(given_back: str, instead: str) -> None:
    found = decode_json(FOUND.replace(given_back, instead).encode())
    assert difference_in(decode_json(SENT.encode()), found) == ""


def test_an_amount_may_be_sent_as_text_and_comes_back_as_a_number() -> None:
    sent = decode_json(SENT.replace("10.10", '"10.10"').encode())
    assert difference_in(sent, decode_json(FOUND.encode())) == ""


@cases(
    ("given_back", "instead", "name"),
    [
        ('"order_id": 1', '"order_id": "1"', "order_id"),
        ('"user_id": 2', '"user_id": 2.5', "user_id"),
        ("[3, 3, 4]", "[3, 4, 3]", "item_ids"),
        ("[3, 3, 4]", "[3, 4]", "item_ids"),
        ("10.10", "10.1000000000000000001", "total_amount"),
        ("10.10", '"10.10"', "total_amount"),
        ("10.10", "null", "total_amount"),
        ("10.10", "true", "total_amount"),
        ("true", "1", "metadata"),
        ("null", "false", "metadata"),
        ('"a"', '"b"', "metadata"),
        (', "status": "Completed"', "", "it has no status"),
    ],
)
def test_a_difference_is_named(given_back: str, instead: str, name: str) -> None:
    found = decode_json(FOUND.replace(given_back, instead).encode())
    assert difference_in(decode_json(SENT.encode()), found).startswith(name)


@cases("found", [b"[]", b"1", b"null"])
def test_an_answer_that_is_no_object_differs(found: bytes) -> None:
    assert difference_in(decode_json(SENT.encode()), decode_json(found)) == "the answer is not a JSON object"


ENDED = {
    "status": "Completed",
    "created_time": "2026-01-02 03:04:05",
    "processed_time": "2026-01-02 03:04:05",
    "attempts": 1,
    "error": None,
    "processing_time": 0,
}


@cases(
    "order",
    [
        ENDED,
        {"status": "Completed"},
        ENDED | {"status": "Failed", "error": "no", "processing_time": None},
        ENDED | {"status": "Cancelled", "attempts": 0, "processed_time": None},
    ],
)
def test_a_well_processed_order_has_no_contradiction(order: dict[str, object]) -> None:
    assert find_contradiction(order) == ""


@cases(
    ("name", "value"),
    [
        ("created_time", None),
        ("created_time", "2026-01-02 03:04:06"),
        ("processed_time", None),
        ("error", "boom"),
        ("attempts", 0),
        ("attempts", "1"),
        ("processing_time", -5),
        ("processing_time", None),
    ],
)
def test_a_contradiction_in_a_completed_order_is_named(name: str, value: object) -> None:
    assert name in find_contradiction(ENDED | {name: value})
