"""Tests the slow clients that load a server during a measurement."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tornado.iostream import IOStream, StreamClosedError
from tornado.tcpserver import TCPServer
from tornado.testing import bind_unused_port

from load.bench.slow_clients import SlowClients
from load.http.address import Address, ServerUrl, reach
from tests.handlers.running_api import turn_of_the_loop

QUIET_S = 0.05


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
