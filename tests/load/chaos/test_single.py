"""What counts as a wrong answer to one order."""

import asyncio

import pytest

from load.chaos.asking import Told
from load.chaos.shop import Shop as ChaosShop
from load.chaos.single import fault_of_new, fault_of_other, fault_of_read, fault_of_replay
from load.http.response import Response
from load.orders.comparison import decode_json
from tests.load.chaos.sending import send
from tests.load.shop import Shop

BODY = b'{"message": "Order processing initiated successfully", "order_id": "%s"}'
NEW = b"http/1.1 202 accepted\r\nlocation: /order/7"
REPLAYED = NEW + b"\r\nidempotent-replayed: true"
ELSEWHERE = [NEW + b"7", NEW.replace(b"/7", b"/8"), NEW.partition(b"\r")[0], NEW + NEW[21:]]
MISPLACED = "a 202 whose Location is not the order's"


def told(
    status: int = 202, *, head: bytes = NEW, order_id: bytes = b"7", unanswered: int = 0, put_off: int = 0
) -> Told:
    return Told(Response(status, head, BODY % order_id, True), unanswered, put_off)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (told(), ""),
        (told(head=REPLAYED, unanswered=1), ""),
        (told(head=REPLAYED, unanswered=1, put_off=1), ""),
        (told(head=REPLAYED), "a new order was called a replay"),
        (told(head=REPLAYED, put_off=1), "a replay after a 503 that stored nothing"),
        (told(409), "a new order got 409"),
        (told(500), "a new order got 500"),
        (told(order_id=b"8"), "a 202 that names another order"),
        *((told(head=head), MISPLACED) for head in ELSEWHERE),
    ],
)
def test_a_new_order_is_accepted_and_a_replay_only_where_it_may_be_there(answer: Told, fault: str) -> None:
    assert fault_of_new(answer, 7) == fault


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (told(head=REPLAYED), ""),
        (told(), "a replay that was called new"),
        (told(head=ELSEWHERE[0]), MISPLACED),
        (told(409), "an acknowledged order that was sent again got 409"),
        (told(500), "an acknowledged order that was sent again got 500"),
    ],
)
def test_an_acknowledged_order_is_a_replay(answer: Told, fault: str) -> None:
    assert fault_of_replay(answer, 7) == fault


@pytest.mark.parametrize(
    ("answer", "fault"), [(told(409), ""), (told(head=REPLAYED), "another order under a known id got 202")]
)
def test_another_order_under_a_known_id_is_a_conflict(answer: Told, fault: str) -> None:
    assert fault_of_other(answer) == fault


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (200, b'{"order_id": 7, "user_id": 1, "item_ids": [1], "total_amount": 5.250, "status": "Pending"}', ""),
        (200, b'{"order_id": 7, "user_id": 2}', "an acknowledged order that was looked at differs"),
        (200, b"{", "a look at an acknowledged order got no JSON"),
        (404, b"{}", "a look at an acknowledged order got 404"),
    ],
)
def test_an_acknowledged_order_is_there_at_once(status: int, body: bytes, fault: str) -> None:
    order = decode_json(b'{"order_id": 7, "user_id": 1, "item_ids": [1], "total_amount": 5.25}')
    assert fault_of_read(Told(Response(status, b"", body, True), 0, 0), order) == fault


def test_a_shop_that_takes_another_order_under_a_known_id_is_found_out(harmed: ChaosShop, shop: Shop) -> None:
    asyncio.run(send(harmed, 100))
    assert harmed.ledger.acknowledged == 100
    assert {what for what, _ in harmed.wrong} == {"another order under a known id got 202"}
    assert len(set(shop.ids)) == 100 < len(shop.ids)


def test_an_order_that_is_refused_for_good_is_wrong_and_not_acknowledged(harmed: ChaosShop, shop: Shop) -> None:
    order_id = harmed.ledger.orders.order_id(0)
    shop.refusals[order_id] = 500
    asyncio.run(send(harmed, 1))
    assert harmed.wrong == [("a new order got 500", order_id)]
    assert harmed.ledger.acknowledged == 0
