"""The customers of a soak, and what they complain of."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Any

import pytest

from load.http.address import Address, ServerUrl, reach
from load.http.response import Response
from load.soak import customers as customers_module
from load.soak.customers import Complain, come_and_go, follow, last_id_in, run_errands, take_nothing
from load.soak.errands import Errand, fault_of_status
from tests.load.shop import Fault, Shop

BEGUN = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
Customer = Callable[[Address, Complain], Coroutine[Any, Any, None]]


@pytest.mark.parametrize(
    ("piece", "last_id"),
    [
        (b"\nid: a-1\nevent: order\ndata: {}\n\nid: a-2\nevent: order\ndata: {}\n\n", b"a-2"),
        (b"\nid: a-1\nevent: order\ndata: {}\n\nid: a-", b"a-1"),
        (b"event: order\ndata: {}\n\n", b""),
        (b"", b""),
    ],
)
def test_the_last_whole_id_of_a_piece_is_known(piece: bytes, last_id: bytes) -> None:
    assert last_id_in(piece) == last_id


@pytest.mark.gen_test
async def test_customers_complain_of_wrong_answers_and_of_missing_ones(shop: Shop) -> None:
    address, complaints = await reach(ServerUrl.parse(shop.url)), list[str]()
    errands = [
        Errand(address.get("/order/17"), partial(fault_of_status, 200)),
        Errand(address.get("/metrics"), partial(fault_of_status, 200)),
    ]
    customer = run_errands(
        address, iter(errands), pause_s=0.001, chance=Random(1), complain=complaints.append, stays=False
    )
    await customer
    assert complaints == ["GET /order/N: status 404 instead of 200"]


@pytest.mark.gen_test
async def test_an_errand_that_has_begun_is_run_to_its_end(shop: Shop) -> None:
    address, statuses = await reach(ServerUrl.parse(shop.url)), list[int]()
    shop.faults = {5: Fault.HOLD}

    def note(answer: Response) -> str:
        statuses.append(answer.status)
        return ""

    errands = iter([Errand(address.post("/order", b'{"order_id": 5}'), note)] * 2)
    customer = asyncio.create_task(
        run_errands(address, errands, pause_s=0.001, chance=Random(1), complain=pytest.fail, stays=True)
    )
    assert await asyncio.to_thread(shop.steps.come, ("came", 5))
    customer.cancel()
    shop.release(5)
    with pytest.raises(asyncio.CancelledError):
        await customer
    assert statuses == [202]


@asynccontextmanager
async def _server(said: bytes, *, ends: bool) -> AsyncIterator[Address]:
    """A server that says this on every connection, whatever it is asked, and then ends it or says nothing more."""
    is_over, serving = asyncio.Event(), list[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        if not ends:
            await is_over.wait()
        writer.close()
        await writer.wait_closed()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    sockaddr = server.sockets[0].getsockname()
    try:
        yield Address(ServerUrl.parse(f"http://127.0.0.1:{sockaddr[1]}"), socket.AF_INET, sockaddr)
    finally:
        is_over.set()
        await asyncio.gather(*serving, return_exceptions=True)
        server.close()
        await server.wait_closed()


async def _first_complaint(customer: Customer, said: bytes, *, ends: bool = False) -> str:
    """What a customer complains of first where a server says no more than this."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with _server(said, ends=ends) as address:
        running = asyncio.create_task(customer(address, heard.put_nowait))
        try:
            return await heard.get()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def _follow(address: Address, complain: Complain) -> Coroutine[Any, Any, None]:
    return follow(address, "/metrics/events", complain=complain)


def _come_and_go(address: Address, complain: Complain) -> Coroutine[Any, Any, None]:
    return come_and_go(address, chance=Random(1), complain=complain)


def _take_nothing(address: Address, complain: Complain) -> Coroutine[Any, Any, None]:
    return take_nothing(address, chance=Random(1), complain=complain)


@pytest.mark.gen_test
@pytest.mark.parametrize("customer", [_follow, _come_and_go, _take_nothing])
async def test_a_stream_that_never_begins_is_complained_of(customer: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(customers_module, "ANSWER_S", 0.05)
    complaint = await _first_complaint(customer, b"")
    assert complaint.endswith("/events: no answer within 0.05 s")


@pytest.mark.gen_test
async def test_a_followed_stream_that_falls_silent_is_complained_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(customers_module, "SILENCE_S", 0.05)
    assert await _first_complaint(_follow, BEGUN) == "/metrics/events: nothing came for 0.05 s"


@pytest.mark.gen_test
async def test_a_followed_stream_that_ends_is_complained_of() -> None:
    assert await _first_complaint(_follow, BEGUN, ends=True) == "/metrics/events: the stream ended"
