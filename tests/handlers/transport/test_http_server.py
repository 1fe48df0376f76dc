"""Time-outs, malformed requests and the connection limit, with a clock that the test sets."""

import asyncio
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

from handlers.transport.connection_stream import lift_body_timeout
from handlers.transport.http_server import MAX_HEAD_BYTES, BoundedHTTPServer
from handlers.transport.in_flight import InFlightRequests
from handlers.transport.lane import IterationBudget, Lane
from handlers.transport.plain_head import PlainHead
from handlers.transport.plain_request import PlainRequest
from handlers.transport.timeouts import BODY_STEP_BYTES, RESPONSE_STEP_BYTES, Timeouts
from tests.cases import cases
from tests.handlers.problem_check import assert_is_problem
from tests.handlers.running_api import Connection, get_text, turn_of_the_loop

TIMEOUTS = Timeouts(handshake_s=10, idle_s=70, head_s=20, body_s=30, response_s=40)
# More than fits in the buffers of both ends of a connection.
LARGE_BYTES = 16 * 1024 * 1024
MALFORMED = [
    b"\x00\xff\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET /small HTTP/1.1\r\nHost: test\r\nno header\r\n\r\n",
    b"GET /small HTTP/9.9\r\nHost: test\r\n\r\n",
    b"POST /small HTTP/1.1\r\nHost: test\r\nContent-Length: -1\r\n\r\n",
    b"POST /small HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"POST /small HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST /small HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: gzip\r\n\r\n",
    b"POST /small HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    b"POST /small HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 100,
]


class _Paths(HTTPServerConnectionDelegate):
    """`/small` and `/large` get a response, `/never` gets none, and `/stream` has no time-out for its body."""

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        return _Request(request_conn)


class _Request(HTTPMessageDelegate):
    def __init__(self, connection: HTTPConnection) -> None:
        self._connection = connection
        self._path = ""

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> None:
        assert isinstance(start_line, RequestStartLine)
        self._path = start_line.path
        if self._path == "/stream":
            lift_body_timeout(self._connection)

    def finish(self) -> None:
        if self._path == "/never":
            return
        body = b"x" * (LARGE_BYTES if self._path == "/large" else 1)
        headers = HTTPHeaders({"Content-Length": str(len(body))})
        self._connection.write_headers(ResponseStartLine("HTTP/1.1", 200, "OK"), headers, body)
        self._connection.finish()


class PlainPaths:
    """Serves the paths of `_Paths` on the plain lane."""

    def __init__(self) -> None:
        self.served: list[str] = []

    def takes(self, head: PlainHead) -> bool:
        return head.path in ("/small", "/large", "/never")

    def admit(self, request: PlainRequest) -> None:
        pass

    def serve(self, request: PlainRequest) -> None:
        self.served.append(request.path)
        if request.path != "/never":
            request.respond(200, b"x" * (LARGE_BYTES if request.path == "/large" else 1))


class RunningServer:
    """A server on a free port, and the clock of the server."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, has_lane: bool = False) -> None:
        self.now_s = 1_000.0
        self.clock_errors = 0
        """How many of the next calls of the clock fail."""
        self.plain = PlainPaths()
        lane = Lane(self.plain, InFlightRequests(), IterationBudget(clock=lambda: 0.0)) if has_lane else None
        self.http_server = BoundedHTTPServer(
            _Paths(), lane=lane, timeouts=TIMEOUTS, clock=self._read_clock, ssl_options=tls
        )
        self._listener, self.port = bind_unused_port()

    def _read_clock(self) -> float:
        if self.clock_errors:
            self.clock_errors -= 1
            raise OSError("no time")
        return self.now_s

    async def open(self) -> None:
        await self.http_server.listen_on([self._listener])

    @asynccontextmanager
    async def connection(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Connection]:
        connection = Connection(*await asyncio.open_connection("127.0.0.1", self.port, ssl=tls))
        try:
            yield connection
        finally:
            await connection.close()

    async def pass_time(self, seconds: float) -> None:
        """Lets the server read what clients have sent, and check its time-outs now and `seconds` later."""
        for _ in range(20):
            await turn_of_the_loop()
        await self.http_server.close_timed_out()
        self.now_s += seconds
        await self.http_server.close_timed_out()

    async def close(self) -> None:
        self.http_server.stop()
        await self.http_server.close_all_connections()


@pytest.fixture(params=[False, True], ids=["tornado", "lane"])
def server(io_loop: IOLoop, request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    """Runs each test twice: on a server without the plain lane, and on a server with it."""

    async def open_it() -> RunningServer:
        server = RunningServer(has_lane=request.param)
        await server.open()
        return server

    opened = io_loop.run_sync(open_it)
    yield opened
    io_loop.run_sync(opened.close)


async def assert_is_served(connection: Connection) -> None:
    await connection.send(get_text("/small"))
    assert (await connection.answer()).status == 200


@pytest.mark.gen_test
async def test_an_idle_connection_is_closed_after_its_timeout(server: RunningServer) -> None:
    async with server.connection() as idle, server.connection() as used:
        await server.pass_time(69)
        await assert_is_served(used)
        await server.pass_time(1)
        assert await idle.is_closed_by_server()
        await assert_is_served(used)


@pytest.mark.gen_test
async def test_an_error_in_the_check_of_a_connection_delays_no_other_connection(
    server: RunningServer, log: list[logging.LogRecord]
) -> None:
    async with server.connection() as first, server.connection() as second:
        await server.pass_time(69)
        server.now_s += 1
        server.clock_errors = 1
        await server.http_server.close_timed_out()
        for _ in range(20):
            await turn_of_the_loop()
        assert server.http_server.connections == 1
        record = log.pop()
        assert record.getMessage() == "the time-outs of a connection could not be checked"
        assert record.exc_info
        await server.http_server.close_timed_out()
        assert await first.is_closed_by_server()
        assert await second.is_closed_by_server()


@pytest.mark.gen_test
async def test_the_idle_timeout_counts_from_the_last_request(server: RunningServer) -> None:
    async with server.connection() as connection:
        for _ in range(3):
            await assert_is_served(connection)
            await server.pass_time(69)
        await assert_is_served(connection)
        await server.pass_time(70)
        assert await connection.is_closed_by_server()


@pytest.mark.gen_test
async def test_a_head_that_arrives_too_slowly_is_a_408(server: RunningServer) -> None:
    async with server.connection() as connection:
        await assert_is_served(connection)
        await server.pass_time(60)
        await connection.send(b"GET /small HTTP/1.1\r\n")
        for number in range(4):
            await server.pass_time(4)
            await connection.send(b"X-%d: 1\r\n" % number)
        await server.pass_time(4)
        answer = await connection.answer()
        problem = assert_is_problem(answer, 408, "request-timeout", "/")
        assert problem["detail"] == "The head did not come within 20 seconds."
        assert answer.headers["Connection"] == "close"
        assert await connection.is_closed_by_server()


@pytest.mark.gen_test
@cases("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
async def test_a_body_that_arrives_too_slowly_is_a_408(server: RunningServer, framing: str) -> None:
    async with server.connection() as connection:
        await connection.send(f"POST /small HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n".encode())
        for _ in range(5):
            await server.pass_time(6)
            await connection.send(b"1\r\nx\r\n")
        answer = await connection.answer()
        problem = assert_is_problem(answer, 408, "request-timeout", "/")
        assert problem["detail"] == "The body did not come within 30 seconds."
        assert await connection.is_closed_by_server()
        assert server.http_server.connections == 1, "a client that still sends can read the response"


@pytest.mark.gen_test
async def test_the_timeouts_apply_to_each_request(server: RunningServer) -> None:
    async with server.connection() as connection:
        for _ in range(3):
            await connection.send(b"POST /small HTTP/1.1\r\n")
            await server.pass_time(15)
            await connection.send(b"Content-Length: 10\r\n\r\n12345")
            await server.pass_time(20)
            await connection.send(b"67890")
            assert (await connection.answer()).status == 200


@pytest.mark.gen_test
async def test_the_body_timeout_applies_to_each_step_of_a_long_body(server: RunningServer) -> None:
    async with server.connection() as connection:
        await connection.send(f"POST /small HTTP/1.1\r\nContent-Length: {5 * BODY_STEP_BYTES}\r\n\r\n".encode())
        for _ in range(5):
            await server.pass_time(29)
            await connection.send(b"x" * BODY_STEP_BYTES)
        assert (await connection.answer()).status == 200


@pytest.mark.gen_test
async def test_a_lifted_body_timeout_applies_again_to_the_next_request(server: RunningServer) -> None:
    async with server.connection() as connection:
        await connection.send(b"POST /stream HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            await connection.send(b"1\r\nx\r\n")
            await server.pass_time(100_000)
        await connection.send(b"0\r\n\r\n")
        assert (await connection.answer()).status == 200
        await connection.send(b"POST /small HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        await server.pass_time(30)
        assert (await connection.answer()).status == 408


@pytest.mark.gen_test
async def test_no_timeout_applies_while_the_server_works_on_a_response(server: RunningServer) -> None:
    async with server.connection() as connection:
        await connection.send(get_text("/never") + get_text("/small"))
        await server.pass_time(100_000)
        assert server.http_server.connections == 1


@pytest.mark.gen_test
@cases("requests", [get_text("/large") * 100, get_text("/large", headers="Connection: close\r\n")])
async def test_a_client_that_does_not_read_its_response_is_disconnected(server: RunningServer, requests: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(requests)
        await server.pass_time(0)
        await server.pass_time(39)
        assert server.http_server.connections == 1
        await server.pass_time(1)
        await server.pass_time(0)
        assert server.http_server.connections == 0


@pytest.mark.gen_test
async def test_bytes_accepted_from_a_client_that_does_not_read_are_limited(server: RunningServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.setblocking(False)
        client.send(get_text("/large"))
        await server.pass_time(0)
        sent, refused = 0, 0
        while refused < 20:
            try:
                sent += client.send(get_text("/small") * 1_000)
                refused = 0
            except BlockingIOError:
                refused += 1
                await server.pass_time(0)
            assert sent < 32 * 1024 * 1024


@pytest.mark.gen_test
async def test_a_slow_client_gets_its_whole_response(server: RunningServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=RESPONSE_STEP_BYTES)
    writer.write(get_text("/large"))
    await reader.readuntil(b"\r\n\r\n")
    for _ in range(4):
        await server.pass_time(39)
        assert len(await reader.readexactly(LARGE_BYTES // 4)) == LARGE_BYTES // 4
    writer.close()
    await writer.wait_closed()


@pytest.mark.gen_test
@cases("sent", MALFORMED)
async def test_malformed_http_is_a_400_and_closed(server: RunningServer, sent: bytes) -> None:
    async with server.connection() as connection:
        await connection.send(sent)
        answer = await connection.answer()
        assert_is_problem(answer, 400, "bad-request", "/")
        assert answer.headers["Connection"] == "close"
        assert answer.headers["Date"].endswith("GMT")
        assert await connection.is_closed_by_server()


@pytest.mark.gen_test
@cases("more", [1, 500_000])
async def test_a_head_that_is_too_large_is_a_431_and_closed(server: RunningServer, more: int) -> None:
    async with server.connection() as connection:
        await connection.send(b"GET /small HTTP/1.1\r\nX: " + b"x" * (MAX_HEAD_BYTES + more))
        answer = await connection.answer()
        assert_is_problem(answer, 431, "head-too-large", "/")
        assert answer.headers["Connection"] == "close"
        assert await connection.is_closed_by_server()


@pytest.mark.gen_test
async def test_a_connection_over_the_limit_is_a_503(server: RunningServer, log: list[logging.LogRecord]) -> None:
    server.http_server.limit_connections(2)
    async with server.connection() as first:
        async with server.connection() as second:
            await assert_is_served(first)
            await assert_is_served(second)
            for _ in range(2):
                async with server.connection() as third:
                    answer = await third.answer()
                    assert_is_problem(answer, 503, "overloaded", "/")
                    assert answer.headers["Retry-After"] == "1"
                    assert await third.is_closed_by_server()
        assert [record.getMessage() for record in log] == ["all 2 connections are in use: new connections are rejected"]
        log.clear()
        await assert_is_served(first)
        async with server.connection() as fourth:
            await assert_is_served(fourth)


@pytest.mark.gen_test
async def test_the_lane_serves_the_next_request_when_the_client_has_read_the_response() -> None:
    server = RunningServer(has_lane=True)
    await server.open()
    async with server.connection() as connection:
        await connection.send(get_text("/large") + get_text("/small") * 2)
        await server.pass_time(0)
        assert server.plain.served == ["/large"]
        assert len((await connection.answer()).body) == LARGE_BYTES
        assert [len((await connection.answer()).body) for _ in range(2)] == [1, 1]
    await server.close()


@pytest.mark.gen_test
async def test_a_client_receives_the_rest_of_its_response_when_all_connections_are_closed() -> None:
    server = RunningServer(has_lane=True)
    await server.open()
    async with server.connection() as connection:
        await connection.send(get_text("/large"))
        await server.pass_time(0)
        closing = asyncio.create_task(server.close())
        assert len((await connection.answer()).body) == LARGE_BYTES
        await closing


@pytest.mark.gen_test
async def test_a_client_that_connected_before_the_stop_is_served() -> None:
    server = RunningServer(has_lane=True)
    await server.open()
    # The event loop does not run before the stop, so the server has not accepted the connection.
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        server.http_server.stop()
        client.sendall(get_text("/small"))
        client.setblocking(False)
        received = await asyncio.get_running_loop().sock_recv(client, 1 << 16)
        assert received.startswith(b"HTTP/1.1 200 OK")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", server.port))
    await server.close()


@pytest.mark.gen_test
async def test_a_connection_that_opens_after_all_are_closed_gets_a_503() -> None:
    server = RunningServer(has_lane=True)
    await server.open()
    await server.http_server.close_all_connections()
    async with server.connection() as connection:
        assert_is_problem(await connection.answer(), 503, "stopping", "/")
        assert await connection.is_closed_by_server()
    await server.close()


@pytest.mark.gen_test
async def test_an_unfinished_tls_handshake_is_closed_after_its_timeout(
    tls: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    server = RunningServer(tls=tls)
    await server.open()
    async with server.connection() as silent, server.connection() as begun, server.connection(trusting) as done:
        await begun.send(b"\x16\x03\x01\x02\x00\x01")
        await assert_is_served(done)
        await server.pass_time(9)
        await assert_is_served(done)
        await server.pass_time(1)
        assert await silent.is_closed_by_server()
        assert await begun.is_closed_by_server()
        await assert_is_served(done)
    await server.close()


@pytest.mark.gen_test
async def test_timeouts_and_errors_are_the_same_over_tls(tls: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    server = RunningServer(tls=tls)
    await server.open()
    async with server.connection(trusting) as dripping, server.connection(trusting) as malformed:
        await assert_is_served(dripping)
        await dripping.send(b"GET /")
        await malformed.send(MALFORMED[0])
        assert_is_problem(await malformed.answer(), 400, "bad-request", "/")
        await server.pass_time(20)
        assert_is_problem(await dripping.answer(), 408, "request-timeout", "/")
        assert await dripping.is_closed_by_server()
    await server.close()
