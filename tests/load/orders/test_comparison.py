"""Tests comparing sent orders with those that the server returns, and interpreting responses."""

import pytest

from load.http.connection import Response
from load.orders.comparison import (
    bulk_fault,
    decode_json,
    difference_in,
    find_contradiction,
    mistake_in,
    post_fault,
    reason_in,
)

SENT = (
    '{"order_id": 1, "user_id": 2, "item_ids": [3, 3, 4], "total_amount": 10.10, "metadata": {"a": [1.50, true, null]}}'
)
FOUND = SENT[:-1] + ', "status": "Completed"}'


def test_an_order_as_sent_has_no_difference() -> None:
    assert difference_in(decode_json(SENT.encode()), decode_json(FOUND.encode())) == ""


@pytest.mark.parametrize(
    ("given_back", "instead"),
    [("10.10", "10.1"), ("10.10", "10.1000"), ("10.10", "1010e-2"), ("1.50", "1.5"), ("1.50", "15e-1")],
)
def test_numbers_are_the_same_by_value(given_back: str, instead: str) -> None:
    found = decode_json(FOUND.replace(given_back, instead).encode())
    assert difference_in(decode_json(SENT.encode()), found) == ""


def test_an_amount_may_be_sent_as_text_and_comes_back_as_a_number() -> None:
    sent = decode_json(SENT.replace("10.10", '"10.10"').encode())
    assert difference_in(sent, decode_json(FOUND.encode())) == ""


@pytest.mark.parametrize(
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


@pytest.mark.parametrize("found", [b"[]", b"1", b"null"])
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


@pytest.mark.parametrize(
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


@pytest.mark.parametrize(
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


def _answer(text: bytes, *, head: bytes = b"") -> Response:
    return Response(202, b"http/1.1 202 accepted" + head, text, True)


def test_a_202_for_an_order_that_was_there_before_is_a_fault() -> None:
    assert post_fault(_answer(b"{}")) == ""
    assert post_fault(_answer(b"{}", head=b"\r\nidempotent-replayed: true")) == "an order that was there before"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b'{"accepted": 3, "duplicates": 0, "rejected": [], "rejected_total": 0}', ""),
        (b'{"accepted": 2, "duplicates": 1, "rejected": [], "rejected_total": 0}', "2 accepted of 3"),
        (b'{"accepted": 2, "duplicates": 0, "rejected": [], "rejected_total": 1}', "2 accepted of 3"),
        (b'{"accepted": 3, "duplicates": 0, "rejected": [], "rejected_total": 1}', "3 accepted of 3"),
        (b'{"accepted": 3}', "a 202 that does not count the orders"),
        (b"\xff", "a 202 that does not count the orders"),
    ],
)
def test_a_202_for_many_orders_must_accept_all_of_them(text: bytes, fault: str) -> None:
    assert bulk_fault(_answer(text), size=3) == fault


def test_an_order_that_may_be_there_already_is_no_fault() -> None:
    repeated = _answer(b'{"accepted": 2, "duplicates": 1, "rejected": [], "rejected_total": 0}')
    assert bulk_fault(repeated, size=3, may_repeat=True) == ""


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"title": "Overloaded"}', "Overloaded"),
        (b'{"title": "Overloaded", "detail": "Too many wait."}', "Too many wait."),
        (
            b'{"detail": "no order", "errors": [{"pointer": "#/a", "detail": "x"}, {"pointer": "#/b", "detail": "y"}]}',
            "#/a x; #/b y",
        ),
        (b'{"detail": 5}', ""),
        (b"[]", ""),
        (b"\xff", ""),
        (b"", ""),
    ],
)
def test_the_reason_is_read_from_the_problem(body: bytes, reason: str) -> None:
    assert reason_in(Response(422, b"", body, True)) == reason


@pytest.mark.parametrize(
    ("body", "mistake"),
    [
        (b'{"order_id": "7"}', ""),
        (b'{"order_id": "8"}', "a 202 that names another order"),
        (b'{"order_id": "77"}', "a 202 that names another order"),
        (b'{"message": "7", "order_id": "8"}', "a 202 that names another order"),
        (b'{"order_id": 7}', "a 202 whose order_id is not a string"),
        (b'{"message": "7"', "a 202 that names no order"),
        (b"{}", "a 202 that names no order"),
        (b"[7]", "a 202 that names no order"),
        (b"\xff", "a 202 that names no order"),
        (b"", "a 202 that names no order"),
    ],
)
def test_a_202_names_its_order_as_a_string(body: bytes, mistake: str) -> None:
    assert mistake_in(Response(202, b"", body, True), 7) == mistake
