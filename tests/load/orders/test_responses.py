"""Tests which responses to new, repeated, changed and many orders are wrong, and what responses say."""

import msgspec
import pytest

from load.http.connection import Response
from load.orders.comparison import (
    BulkResponse,
    Rejection,
    check_known,
    check_many,
    check_new,
    check_not_replayed,
    check_read,
    check_status,
    decode_json,
    mistake_in,
    reason_in,
)
from load.orders.generated import GeneratedOrders
from tests.cases import cases

BODY = b'{"message": "Order processing initiated successfully", "order_id": "%s"}'
NEW = b"http/1.1 202 accepted\r\nlocation: /order/7"
REPLAYED = NEW + b"\r\nidempotent-replayed: true"
WRONG_HEADS = [NEW + b"7", NEW.replace(b"/7", b"/8"), NEW.partition(b"\r")[0], NEW + NEW[21:]]
WRONG_LOCATION = "a 202 whose Location is not the order's"
ORDERS = GeneratedOrders(first_id=1, count=10)
DONE = ORDERS.body(0)[:-1] + b', "status": "Completed"}'


def _answer(status: int = 202, *, head: bytes = NEW, order_id: bytes = b"7") -> Response:
    return Response(status, head, BODY % order_id, True)


@cases(
    ("answer", "may_be_known", "problem"),
    [
        (_answer(), False, ""),
        (_answer(head=REPLAYED), True, ""),
        (_answer(head=REPLAYED), False, "an order that was there before"),
        (_answer(409), False, "status 409 instead of 202"),
        (_answer(500), True, "status 500 instead of 202"),
        (_answer(order_id=b"8"), False, "a 202 that names another order"),
        *((_answer(head=head), False, WRONG_LOCATION) for head in WRONG_HEADS),
    ],
)
def test_a_new_order_is_acknowledged_by_a_202_that_names_it(answer: Response, may_be_known: bool, problem: str) -> None:
    assert check_new(answer, 7, may_be_known=may_be_known) == problem


@cases(
    ("answer", "problem"),
    [
        (_answer(head=REPLAYED), ""),
        (_answer(), "a known order was taken as new"),
        (_answer(head=WRONG_HEADS[0]), WRONG_LOCATION),
        (_answer(409), "status 409 instead of 202"),
        (_answer(500), "status 500 instead of 202"),
    ],
)
def test_a_repeated_order_is_a_replay(answer: Response, problem: str) -> None:
    assert check_known(answer, 7) == problem


def test_a_202_for_an_order_that_was_there_before_is_found() -> None:
    assert check_not_replayed(_answer()) == ""
    assert check_not_replayed(_answer(head=REPLAYED)) == "an order that was there before"


def test_a_different_order_with_a_known_id_is_a_conflict() -> None:
    assert check_status(_answer(409), 409) == ""
    assert check_status(_answer(head=REPLAYED), 409) == "status 202 instead of 409"


@cases(
    ("text", "problem"),
    [
        (DONE, ""),
        (DONE.replace(b"Completed", b"Pending"), "an order that is not Completed"),
        (ORDERS.body(1)[:-1] + b', "status": "Completed"}', "an order that is not as it was sent"),
        (b"{}", "an order that is not as it was sent"),
        (b"[]", "an order that is not as it was sent"),
        (b"{", "no JSON"),
        (b"\xff", "no JSON"),
    ],
)
def test_a_read_order_is_compared_with_what_was_sent(text: bytes, problem: str) -> None:
    assert check_read(Response(200, b"", text, True), ORDERS.order(0), is_completed=True) == problem


def test_a_read_without_waiting_may_be_unprocessed_and_have_another_form_of_the_amount() -> None:
    order = decode_json(b'{"order_id": 7, "user_id": 1, "item_ids": [1], "total_amount": 5.25}')
    text = b'{"order_id": 7, "user_id": 1, "item_ids": [1], "total_amount": 5.250, "status": "Pending"}'
    assert check_read(Response(200, b"", text, True), order) == ""


@pytest.mark.parametrize("status", [202, 404])
def test_a_read_with_another_status_is_wrong(status: int) -> None:
    answer = Response(status, b"", DONE, True)
    assert check_read(answer, ORDERS.order(0), is_completed=True) == f"status {status} instead of 200"


CONFLICT = Rejection(index=11, status=409)
NO_TEXT = b'{"rejected": [{"index": 1, "status": 409, "detail": "\xff"}]}'


def _many(*, accepted: int, duplicates: int, rejected: list[Rejection], status: int = 202) -> Response:
    counts = BulkResponse(accepted, duplicates, rejected, len(rejected))
    return Response(status, b"", msgspec.json.encode(counts), True)


@cases(
    ("answer", "has_known", "problem"),
    [
        (_many(accepted=10, duplicates=0, rejected=[]), False, ""),
        (_many(accepted=10, duplicates=1, rejected=[CONFLICT]), True, ""),
        (_many(accepted=3, duplicates=7, rejected=[]), False, "3 accepted of 10"),
        (_many(accepted=9, duplicates=0, rejected=[]), False, "a 202 whose counts don't add up"),
        (_many(accepted=10, duplicates=1, rejected=[Rejection(index=3, status=409)]), True, "10 accepted of 10"),
        (_many(accepted=9, duplicates=0, rejected=[Rejection(index=3, status=422)]), False, "9 accepted of 10"),
        (_many(accepted=10, duplicates=0, rejected=[], status=500), False, "status 500 instead of 202"),
        (Response(202, b"", b"[]", True), False, "a 202 that does not count the orders"),
        (Response(202, b"", b'{"accepted": 3}', True), False, "a 202 that does not count the orders"),
        (Response(202, b"", NO_TEXT, True), False, "a 202 that does not count the orders"),
    ],
)
def test_a_202_for_many_orders_must_account_for_every_order(answer: Response, has_known: bool, problem: str) -> None:
    assert check_many(answer, new=10, has_known=has_known) == problem


@pytest.mark.parametrize("has_known", [False, True])
def test_an_order_that_may_be_there_already_is_no_fault(has_known: bool) -> None:
    repeated = _many(accepted=3, duplicates=7 + has_known, rejected=[CONFLICT] * has_known)
    assert check_many(repeated, new=10, has_known=has_known, may_repeat=True) == ""


@cases(
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


@cases(
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
