"""Tests one keep-alive connection over a real socket."""

from collections.abc import Awaitable, Callable

import pytest
from tornado.iostream import IOStream
from tornado.tcpserver import TCPServer
from tornado.testing import bind_unused_port

from load.http.address import Address, ServerUrl, Unreachable, reach
from load.http.connection import Connection, NoConnection, NoResponse

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Script = Callable[[IOStream], Awaitable[None]]


class Scripted(TCPServer):
    """A server that runs the next of `scripts` for each connection, and closes the connection when the script ends."""

    def __init__(self, *scripts: Script) -> None:
        super().__init__()
        self.scripts = list(scripts)
        listener, self.port = bind_unused_port()
        self.add_socket(listener)

    async def handle_stream(self, stream: IOStream, address: tuple[str, int]) -> None:
        await self.scripts.pop(0)(stream)
        stream.close()

    async def address(self) -> Address:
        url = ServerUrl.parse(f"http://127.0.0.1:{self.port}")
        self.scripts.insert(0, _nothing)
        return await reach(url, timeout_s=5)


async def _nothing(stream: IOStream) -> None:
    pass


async def _answer_twice(stream: IOStream) -> None:
    for _ in range(2):
        await stream.read_until(b"\r\n\r\n")
        await stream.write(OK)


async def _answer_once(stream: IOStream) -> None:
    await stream.read_until(b"\r\n\r\n")
    await stream.write(OK)


async def _only_read(stream: IOStream) -> None:
    await stream.read_until(b"\r\n\r\n")


async def _answer_without_length(stream: IOStream) -> None:
    await stream.read_until(b"\r\n\r\n")
    await stream.write(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000)


@pytest.mark.gen_test
async def test_one_connection_carries_many_requests() -> None:
    server = Scripted(_answer_twice)
    connection = Connection(await server.address())
    request = b"GET / HTTP/1.1\r\n\r\n"
    assert [(await connection.exchange(request)).body for _ in range(2)] == [b"ok", b"ok"]
    assert server.scripts == []
    connection.close()
    connection.close()
    server.stop()


@pytest.mark.gen_test
async def test_a_connection_that_the_server_closed_is_opened_again() -> None:
    server = Scripted(_only_read, _answer_once)
    connection = Connection(await server.address())
    with pytest.raises(NoResponse, match="connection closed before the answer"):
        await connection.exchange(b"GET / HTTP/1.1\r\n\r\n")
    assert (await connection.exchange(b"GET / HTTP/1.1\r\n\r\n")).status == 200
    connection.close()
    server.stop()


@pytest.mark.gen_test
async def test_a_body_without_a_length_is_read_to_the_connection_s_end() -> None:
    server = Scripted(_answer_without_length)
    connection = Connection(await server.address())
    assert len((await connection.exchange(b"GET / HTTP/1.1\r\n\r\n")).body) == 100_000
    server.stop()


@pytest.mark.gen_test
async def test_a_refused_connection_says_that_nothing_was_sent() -> None:
    server = Scripted()
    address = await server.address()
    server.stop()
    with pytest.raises(NoConnection, match="connection refused"):
        await Connection(address).exchange(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(Unreachable, match="connection refused"):
        await reach(address.url, timeout_s=5)


@pytest.mark.gen_test
async def test_a_host_name_is_resolved_once() -> None:
    server = Scripted(_nothing)
    address = await reach(ServerUrl.parse(f"http://localhost:{server.port}"), timeout_s=5)
    assert address.sockaddr[:2] == ("127.0.0.1", server.port)
    assert b"Host: localhost:%d\r\n" % server.port in address.get("/")
    server.stop()


async def _never_end_the_headers(stream: IOStream) -> None:
    await stream.read_until(b"\r\n\r\n")
    await stream.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        await stream.write(b"X: Y\r\n" * 1000)


async def _never_end_the_body(stream: IOStream) -> None:
    await stream.read_until(b"\r\n\r\n")
    await stream.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await stream.write(b"x" * 1_000_000)


@pytest.mark.gen_test
async def test_an_answer_without_an_end_is_given_up_and_the_next_one_read() -> None:
    server = Scripted(_never_end_the_headers, _never_end_the_body, _answer_once)
    connection = Connection(await server.address())
    for complaint in ("headers of over 64 KiB", "a body of over 16 MiB"):
        with pytest.raises(NoResponse, match=complaint):
            await connection.exchange(b"GET / HTTP/1.1\r\n\r\n")
    assert (await connection.exchange(b"GET / HTTP/1.1\r\n\r\n")).status == 200
    connection.close()
    server.stop()
