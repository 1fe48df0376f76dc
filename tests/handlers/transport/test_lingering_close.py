"""Connections whose client is still sending after the response."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.ioloop import IOLoop
from tornado.testing import bind_unused_port
from tornado.web import Application

from handlers.problems.problem import UNAUTHORIZED, Problem
from handlers.requests.early_response import prepare_early_response
from handlers.requests.error_responses import ErrorResponder
from handlers.requests.request_head import RequestHead
from handlers.transport.http_server import BoundedHTTPServer
from handlers.transport.in_flight import InFlightRequests
from handlers.transport.lingering_close import MAX_LINGER_BYTES
from tests.handlers.conftest import LONG_LINGER_S
from tests.handlers.problem_check import assert_is_problem
from tests.handlers.running_api import Connection, get_text, turn_of_the_loop, until
from tests.loop_time import LoopTime

BODY_BYTES = 30 * 1024 * 1024
BUFFER_BYTES = 32 * 1024 * 1024
"""More than fits in the buffers of both ends of a connection."""
BLOCKED_TURNS = 200
"""If a server has not read for this number of iterations of the event loop, it will not read again."""


def upload(path: str = "/order", framing: str = f"Content-Length: {BODY_BYTES}") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n".encode()


class _RefuseAll(HTTPServerConnectionDelegate):
    """Rejects every request before its body. `/twice` is rejected twice, and `/begun` gets only half of a response."""

    def __init__(self) -> None:
        application = Application([], log_function=lambda handler: None)
        self.errors = ErrorResponder(application=application, in_flight=InFlightRequests())

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        return _Refusal(self.errors, server_conn, request_conn)


class _Refusal(HTTPMessageDelegate):
    def __init__(self, errors: ErrorResponder, server_connection: object, connection: HTTPConnection) -> None:
        self._errors = errors
        self._server_connection = server_connection
        self._connection = connection

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> None:
        assert isinstance(start_line, RequestStartLine)
        head = RequestHead(
            server_connection=self._server_connection,
            connection=self._connection,
            start_line=start_line,
            headers=headers,
        )
        if head.path == "/begun":
            begun = HTTPHeaders({"Content-Length": "10"})
            self._connection.write_headers(ResponseStartLine("HTTP/1.1", 200, "OK"), begun, b"12345")
            return
        prepare_early_response(head)
        for _ in range(2 if head.path == "/twice" else 1):
            self._errors.respond(head, Problem(UNAUTHORIZED, "No."))


class RefusingServer:
    """The server on a port. Without `tls`, the server speaks plain HTTP."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.http_server = BoundedHTTPServer(_RefuseAll(), ssl_options=tls)
        listener, self.port = bind_unused_port()
        self.http_server.add_socket(listener)

    @asynccontextmanager
    async def connection(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Connection]:
        connection = Connection(*await asyncio.open_connection("127.0.0.1", self.port, ssl=tls))
        try:
            yield connection
        finally:
            await connection.close()

    async def until_connections(self, count: int) -> None:
        await until(lambda: self.http_server.connections == count)

    async def close(self) -> None:
        self.http_server.stop()
        await self.http_server.close_all_connections()
        assert self.http_server.connections == 0


@pytest.fixture
def server(io_loop: IOLoop) -> Iterator[RefusingServer]:
    async def open_it() -> RefusingServer:
        return RefusingServer()

    running = io_loop.run_sync(open_it)
    yield running
    io_loop.run_sync(running.close)


@pytest.mark.gen_test
async def test_a_client_that_sends_its_whole_body_first_gets_the_response(server: RefusingServer) -> None:
    async with server.connection() as connection:
        await connection.send(upload() + bytes(BODY_BYTES))
        answer = await connection.answer()
        assert_is_problem(answer, 401, "unauthorized")
        assert answer.headers["Connection"] == "close"
        assert await connection.is_closed_by_server()
    await server.until_connections(0)


@pytest.mark.gen_test
async def test_a_client_that_sends_its_whole_body_first_gets_the_response_over_tls(
    tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    server = RefusingServer(tls)

    def send_and_receive() -> bytes:
        # The TLS client of asyncio stops sending when the server has closed its sending side.
        with (
            socket.create_connection(("127.0.0.1", server.port)) as plain,
            trusting.wrap_socket(plain, suppress_ragged_eofs=True) as client,
        ):
            client.sendall(upload() + bytes(BODY_BYTES))
            return client.recv(12)

    assert await asyncio.to_thread(send_and_receive) == b"HTTP/1.1 401"
    await server.close()


@pytest.mark.gen_test(timeout=5 * LONG_LINGER_S)
async def test_a_client_that_does_not_close_is_disconnected_after_a_time(
    server: RefusingServer, loop_time: LoopTime, long_linger: None
) -> None:
    async with server.connection() as connection:
        await connection.send(upload())
        assert (await connection.answer()).status == 401
        await connection.send(b"x")
        await loop_time.advance(0.9 * LONG_LINGER_S)
        assert server.http_server.connections == 1
        await loop_time.advance(0.2 * LONG_LINGER_S)
        assert server.http_server.connections == 0


@pytest.mark.gen_test
async def test_the_discarded_part_of_a_body_is_limited(server: RefusingServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(upload(framing="Content-Length: 1000000000000"))
        client.setblocking(False)
        sent_bytes, blocked_turns, part = 0, 0, bytes(1024 * 1024)
        while blocked_turns < BLOCKED_TURNS:
            try:
                sent_bytes += client.send(part)
                blocked_turns = 0
            except BlockingIOError:
                blocked_turns += 1
            await turn_of_the_loop()
            assert sent_bytes < MAX_LINGER_BYTES + BUFFER_BYTES
        assert sent_bytes >= MAX_LINGER_BYTES
        assert client.recv(12) == b"HTTP/1.1 401"
        assert server.http_server.connections == 1


@pytest.mark.gen_test
async def test_a_lingering_connection_counts_towards_the_limit(
    server: RefusingServer, log: list[logging.LogRecord]
) -> None:
    server.http_server.limit_connections(1)
    async with server.connection() as lingering:
        await lingering.send(upload())
        assert (await lingering.answer()).status == 401
        async with server.connection() as other:
            assert (await other.answer()).status == 503
            assert await other.is_closed_by_server()
        assert server.http_server.connections == 1
    log.clear()
    await server.until_connections(0)
    async with server.connection() as other:
        await other.send(upload())
        assert (await other.answer()).status == 401


@pytest.mark.gen_test
async def test_a_stop_waits_until_clients_have_closed_their_connections(server: RefusingServer) -> None:
    async with server.connection() as connection:
        await connection.send(upload())
        await connection.answer()
        waiting = asyncio.ensure_future(server.http_server.wait_for_lingering(60))
        for _ in range(10):
            await turn_of_the_loop()
        assert not waiting.done()
        await server.http_server.wait_for_lingering(0)
    await waiting


@pytest.mark.gen_test
async def test_a_connection_is_closed_after_an_early_response_even_if_the_body_ends(server: RefusingServer) -> None:
    async with server.connection() as connection:
        await connection.send(upload(framing="Content-Length: 1") + b"x" + get_text("/"))
        assert (await connection.answer()).status == 401
        assert await connection.is_closed_by_server()


@pytest.mark.gen_test
async def test_a_request_that_is_rejected_twice_gets_one_response(
    server: RefusingServer, log: list[logging.LogRecord]
) -> None:
    async with server.connection() as connection:
        await connection.send(upload("/twice"))
        assert (await connection.answer()).status == 401
        assert await connection.is_closed_by_server()
    [record] = log
    assert record.getMessage().endswith("failed after its response: /twice")
    log.clear()


@pytest.mark.gen_test
@pytest.mark.parametrize("broken", [b"x\r\n", b"0" * 100])
async def test_a_body_that_is_malformed_after_the_response_gets_no_second_response(
    server: RefusingServer, broken: bytes
) -> None:
    async with server.connection() as connection:
        await connection.send(upload("/begun", framing="Transfer-Encoding: chunked"))
        await connection.reader.readuntil(b"12345")
        await connection.send(broken)
        with contextlib.suppress(ConnectionResetError):
            assert await connection.reader.read() == b""
