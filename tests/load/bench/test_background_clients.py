"""Tests the event readers and slow clients that load a server during a measurement."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count, islice

import pytest
from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpserver import TCPServer
from tornado.testing import bind_unused_port

from load.bench.background_clients import EventReaders, SlowClients
from load.bench.workloads import posts
from load.cli.errors import CommandError
from load.http.address import Address, ServerUrl, reach
from tests.handlers.running_api import turn_of_the_loop
from tests.load.event_streams import events_of
from tests.load.shop import Shop
from tests.process import DEADLINE_S

QUIET_S = 0.05


@pytest.fixture
def address(shop: Shop) -> Address:
    return Address(ServerUrl.parse(shop.url), socket.AF_INET, ("127.0.0.1", shop.port))


@asynccontextmanager
async def _readers(address: Address) -> AsyncIterator[EventReaders]:
    readers = EventReaders(address, count=3, quiet_s=QUIET_S)
    try:
        yield readers
    finally:
        await readers.close()
        await readers.close()


def _send_orders(address: Address, orders: int) -> None:
    with socket.create_connection(address.sockaddr, DEADLINE_S) as client:
        for request in islice(posts(address, count(1)), orders):
            client.sendall(request)
            assert client.recv(65_536).startswith(b"HTTP/1.1 202")


@pytest.mark.gen_test
async def test_every_event_reader_counts_all_bytes(address: Address) -> None:
    async with _readers(address) as readers:
        await readers.open()
        await asyncio.to_thread(_send_orders, address, 5)
        size = 5 * len(events_of(1))
        assert await readers.finish() == [0, size, size]
        assert readers.bytes_read == [size] * 3


@pytest.mark.gen_test
async def test_event_readers_do_not_count_the_answers_head(address: Address) -> None:
    async with _readers(address) as readers:
        await readers.open()
        assert await readers.finish() == [0, 0, 0]


@pytest.mark.gen_test
async def test_event_readers_count_ended_streams(shop: Shop, address: Address) -> None:
    async with _readers(address) as readers:
        await readers.open()
        shop.end_events()
        while readers.ended < 3:
            await turn_of_the_loop()


@pytest.mark.gen_test
async def test_event_readers_report_a_server_without_events(shop: Shop, address: Address) -> None:
    shop.has_events = False
    async with _readers(address) as readers:
        with pytest.raises(CommandError, match=r"GET /orders/events: HTTP/1\.1 404 Not Found"):
            await readers.open()


@pytest.mark.gen_test
async def test_event_readers_report_a_server_that_closes_without_an_answer() -> None:
    async with _closing_server(lines=1) as (_, address), _readers(address) as readers:
        with pytest.raises(CommandError, match=r"GET /orders/events: no answer"):
            await readers.open()


@pytest.mark.gen_test
async def test_event_readers_report_a_server_that_is_gone(address: Address) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        unused = Address(address.url, socket.AF_INET, listener.getsockname())
    async with _readers(unused) as readers:
        with pytest.raises(ConnectionRefusedError):
            await readers.open()


class ClosingServer(TCPServer):
    """A server that closes each connection after `lines` lines. `seen` has the lines of each closed connection."""

    def __init__(self, lines: int) -> None:
        super().__init__()
        self.seen: list[list[bytes]] = []
        self._lines = lines

    async def handle_stream(self, stream: IOStream, address: tuple[str, int]) -> None:
        try:
            self.seen.append([await stream.read_until(b"\n") for _ in range(self._lines)])
        except StreamClosedError:
            return
        stream.close()


@asynccontextmanager
async def _closing_server(*, lines: int) -> AsyncIterator[tuple[ClosingServer, Address]]:
    server = ClosingServer(lines)
    listener, port = bind_unused_port()
    server.add_socket(listener)
    yield server, await reach(ServerUrl.parse(f"http://127.0.0.1:{port}"), timeout_s=5)
    server.stop()


@pytest.mark.gen_test
async def test_slow_clients_send_lines_and_reconnect_when_they_are_cut_off() -> None:
    async with _closing_server(lines=4) as (server, address):
        clients = SlowClients(address, count=5, interval_s=0.001)
        await clients.open()
        while clients.ended < 20:
            await turn_of_the_loop()
        await clients.close()
        await clients.close()
    request_line, host, *lines = server.seen[0]
    assert request_line == b"GET /livez HTTP/1.1\r\n"
    assert host == f"Host: {address.url.netloc}\r\n".encode()
    assert set(lines) == {b"X-Slow: line\r\n"}


@pytest.mark.gen_test
async def test_slow_clients_end_when_the_server_is_gone() -> None:
    async with _closing_server(lines=3) as (_, address):
        clients = SlowClients(address, count=3, interval_s=0.001)
        await clients.open()
    while asyncio.all_tasks() - {asyncio.current_task()}:
        await turn_of_the_loop()
    await clients.close()
