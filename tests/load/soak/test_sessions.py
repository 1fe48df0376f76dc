"""Tests the client sessions of a soak, and what they report."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Any

import pytest

from load.http.address import Address, ServerUrl, reach
from load.http.connection import Response
from load.orders.comparison import check_status
from load.soak import streams
from load.soak.requests import CheckedRequest
from load.soak.sessions import send_requests
from load.soak.streams import follow_metrics, last_id_in, resume_events, stall_events
from tests.cases import cases
from tests.load.shop import Fault, Shop

BEGUN = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
Session = Callable[..., Coroutine[Any, Any, None]]


@cases(
    ("piece", "last_id"),
    [
        (b"\nid: a-1\nevent: order\ndata: {}\n\nid: a-2\nevent: order\ndata: {}\n\n", b"a-2"),
        (b"\nid: a-1\nevent: order\ndata: {}\n\nid: a-", b"a-1"),
        (b"event: order\ndata: {}\n\n", b""),
        (b"", b""),
    ],
)
def test_the_last_whole_event_id_is_found(piece: bytes, last_id: bytes) -> None:
    assert last_id_in(piece) == last_id


@pytest.mark.gen_test
async def test_wrong_answers_are_reported_without_ids(shop: Shop) -> None:
    address, reports = await reach(ServerUrl.parse(shop.url)), list[str]()
    requests = [
        CheckedRequest(address.get("/order/17"), partial(check_status, status=200)),
        CheckedRequest(address.get("/metrics"), partial(check_status, status=200)),
    ]
    session = send_requests(
        address, iter(requests), pause_s=0.001, rng=Random(1), report=reports.append, keep_alive=False
    )
    await session
    assert reports == ["GET /order/N: status 404 instead of 200"]


@pytest.mark.gen_test
async def test_a_cancelled_session_completes_its_request(shop: Shop) -> None:
    address, statuses = await reach(ServerUrl.parse(shop.url)), list[int]()
    shop.faults = {5: Fault.HOLD}

    def note(answer: Response) -> str:
        statuses.append(answer.status)
        return ""

    requests = iter([CheckedRequest(address.post("/order", b'{"order_id": 5}'), note)] * 2)
    session = asyncio.create_task(
        send_requests(address, requests, pause_s=0.001, rng=Random(1), report=pytest.fail, keep_alive=True)
    )
    assert await asyncio.to_thread(shop.steps.come, ("came", 5))
    session.cancel()
    shop.release(5)
    with pytest.raises(asyncio.CancelledError):
        await session
    assert statuses == [202]


@asynccontextmanager
async def _server(said: bytes, *, ends: bool) -> AsyncIterator[Address]:
    """Run a server that answers every request with `said`, and then closes the connection or sends nothing more."""
    is_over, serving = asyncio.Event(), list[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(said)
            if not ends:
                await is_over.wait()
        finally:
            # From Python 3.12 on, `server.wait_closed` waits for this, also if the client was gone before that.
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


async def _first_report(session: Session, said: bytes, *, ends: bool = False) -> str:
    """Run a session with a server that sends only `said`, and return the first problem that it reports."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with _server(said, ends=ends) as address:
        running = asyncio.create_task(session(address, rng=Random(1), report=heard.put_nowait))
        try:
            return await heard.get()
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@pytest.mark.gen_test
@pytest.mark.parametrize("session", [follow_metrics, resume_events, stall_events])
async def test_a_stream_that_never_begins_is_reported(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "ANSWER_LIMIT_S", 0.05)  # makes the test fast
    report = await _first_report(session, b"")
    assert report.endswith("/events: no answer within 0.05 s")


@pytest.mark.gen_test
async def test_a_silent_metrics_stream_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "SILENCE_LIMIT_S", 0.05)  # makes the test fast
    assert await _first_report(follow_metrics, BEGUN) == "/metrics/events: nothing came for 0.05 s"


@pytest.mark.gen_test
async def test_a_metrics_stream_that_ends_is_reported() -> None:
    assert await _first_report(follow_metrics, BEGUN, ends=True) == "/metrics/events: the stream ended"
