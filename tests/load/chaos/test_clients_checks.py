"""Tests which responses to single orders and bulk requests are wrong."""

import msgspec
import pytest

from load.chaos.clients import Reply, check_bulk, check_conflict, check_new, check_read, check_replay
from load.http.connection import Response
from load.orders.comparison import BulkResponse, Rejection, decode_json

BODY = b'{"message": "Order processing initiated successfully", "order_id": "%s"}'
NEW = b"http/1.1 202 accepted\r\nlocation: /order/7"
REPLAYED = NEW + b"\r\nidempotent-replayed: true"
WRONG_HEADS = [NEW + b"7", NEW.replace(b"/7", b"/8"), NEW.partition(b"\r")[0], NEW + NEW[21:]]
WRONG_LOCATION = "a 202 whose Location is not the order's"


def reply(
    status: int = 202, *, head: bytes = NEW, order_id: bytes = b"7", unanswered: int = 0, unavailable: int = 0
) -> Reply:
    return Reply(Response(status, head, BODY % order_id, True), unanswered, unavailable)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (reply(), ""),
        (reply(head=REPLAYED, unanswered=1), ""),
        (reply(head=REPLAYED, unanswered=1, unavailable=1), ""),
        (reply(head=REPLAYED), "a new order was answered as a replay"),
        (reply(head=REPLAYED, unavailable=1), "a replay after a 503 that stored nothing"),
        (reply(409), "a new order got 409"),
        (reply(500), "a new order got 500"),
        (reply(order_id=b"8"), "a 202 that names another order"),
        *((reply(head=head), WRONG_LOCATION) for head in WRONG_HEADS),
    ],
)
def test_a_new_order_is_a_replay_only_after_an_unanswered_request(answer: Reply, problem: str) -> None:
    assert check_new(answer, 7) == problem


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (reply(head=REPLAYED), ""),
        (reply(), "a replay was answered as a new order"),
        (reply(head=WRONG_HEADS[0]), WRONG_LOCATION),
        (reply(409), "an acknowledged order that was sent again got 409"),
        (reply(500), "an acknowledged order that was sent again got 500"),
    ],
)
def test_a_repeated_order_is_a_replay(answer: Reply, problem: str) -> None:
    assert check_replay(answer, 7) == problem


@pytest.mark.parametrize(
    ("answer", "problem"), [(reply(409), ""), (reply(head=REPLAYED), "a different order with a known id got 202")]
)
def test_a_different_order_with_a_known_id_is_a_conflict(answer: Reply, problem: str) -> None:
    assert check_conflict(answer) == problem


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (200, b'{"order_id": 7, "user_id": 1, "item_ids": [1], "total_amount": 5.250, "status": "Pending"}', ""),
        (200, b'{"order_id": 7, "user_id": 2}', "an acknowledged order was read with other values"),
        (200, b"{", "reading an acknowledged order got no JSON"),
        (404, b"{}", "reading an acknowledged order got 404"),
    ],
)
def test_an_acknowledged_order_can_be_read_as_sent(status: int, body: bytes, problem: str) -> None:
    order = decode_json(b'{"order_id": 7, "user_id": 1, "item_ids": [1], "total_amount": 5.25}')
    assert check_read(Reply(Response(status, b"", body, True), 0, 0), order) == problem


CONFLICT = Rejection(index=11, status=409)
NO_TEXT = b'{"rejected": [{"index": 1, "status": 409, "detail": "\xff"}]}'


def bulk_reply(
    *, accepted: int, duplicates: int, rejected: list[Rejection], status: int = 202, unanswered: int = 0
) -> Reply:
    counts = BulkResponse(accepted, duplicates, rejected, len(rejected))
    return Reply(Response(status, b"", msgspec.json.encode(counts), True), unanswered, 0)


@pytest.mark.parametrize(
    ("reply", "has_known", "problem"),
    [
        (bulk_reply(accepted=10, duplicates=0, rejected=[]), False, ""),
        (bulk_reply(accepted=10, duplicates=1, rejected=[CONFLICT]), True, ""),
        (bulk_reply(accepted=3, duplicates=8, rejected=[CONFLICT], unanswered=1), True, ""),
        (bulk_reply(accepted=3, duplicates=7, rejected=[]), False, "a 202 that counts new orders as duplicates"),
        (bulk_reply(accepted=9, duplicates=0, rejected=[]), False, "a 202 whose counts don't add up"),
        (
            bulk_reply(accepted=10, duplicates=1, rejected=[Rejection(index=3, status=409)]),
            True,
            "a 202 that rejects other orders than the conflicting one",
        ),
        (
            bulk_reply(accepted=9, duplicates=0, rejected=[Rejection(index=3, status=422)]),
            False,
            "a 202 that rejects other orders than the conflicting one",
        ),
        (bulk_reply(accepted=10, duplicates=0, rejected=[], status=500), False, "a request with new orders got 500"),
        (Reply(Response(202, b"", b"[]", True), 0, 0), False, "a 202 that does not count the orders"),
        (Reply(Response(202, b"", NO_TEXT, True), 0, 0), False, "a 202 that does not count the orders"),
    ],
)
def test_a_bulk_answer_must_account_for_every_order(reply: Reply, has_known: bool, problem: str) -> None:
    assert check_bulk(reply, new=10, has_known=has_known) == problem
