"""Tests the requests of client sessions, and which responses are wrong."""

from random import Random
from socket import AF_INET

import pytest

from load.http.address import Address, ServerUrl, reach
from load.http.connection import Connection, Response
from load.orders.generated import GeneratedOrders, SentOrders
from load.soak.requests import SessionRequests
from tests.load.shop import Shop

NOWHERE = Address(ServerUrl.parse("http://127.0.0.1:1"), AF_INET, ("127.0.0.1", 1))
ORDERS = GeneratedOrders(first_id=1, count=10)
DONE = ORDERS.body(0)[:-1] + b', "status": "Completed"}'


def _answer(text: bytes, *, status: int = 200, head: bytes = b"") -> Response:
    return Response(status, b"http/1.1 %d ok" % status + head, text, True)


@pytest.mark.gen_test
async def test_a_waiting_request_is_acknowledged_by_its_order_only(shop: Shop) -> None:
    address = await reach(ServerUrl.parse(shop.url))
    ledger = _ledger_with_one()
    waits = SessionRequests(address, ledger=ledger, rng=Random(1)).waits()
    connection = Connection(address)
    assert next(waits).check(await connection.exchange(address.get("/order/1"))) == "status 404 instead of 200"
    posting = next(waits)
    assert posting.request.startswith(b"POST /order ")
    assert b"\r\nPrefer: wait=5\r\n" in posting.request
    assert posting.check(_answer(DONE)) == "an order that is not as it was sent"
    assert ledger.acknowledged == 1
    connection.close()
    own = ledger.orders.body(1)[:-1] + b', "status": "Completed"}'
    assert posting.check(_answer(own)) == ""
    assert ledger.acknowledged == 2


def _ledger_with_one() -> SentOrders:
    ledger = SentOrders(ORDERS)
    ledger.note_sent(ledger.take(1))
    ledger.note_acknowledged([0])
    return ledger


def test_requests_need_an_acknowledged_order() -> None:
    requests = SessionRequests(NOWHERE, ledger=SentOrders(ORDERS), rng=Random(1))
    with pytest.raises(ValueError, match="no order was acknowledged"):
        next(requests.lookups())
