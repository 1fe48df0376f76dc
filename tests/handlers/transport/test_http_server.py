"""Clients that are late, or speak no HTTP, or are too many; the clock moves only when a test says so."""

import asyncio
import logging
import socket
import ssl
import subprocess
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

from handlers.transport.connection_stream import BODY_STEP_BYTES, RESPONSE_STEP_BYTES, Timeouts, lift_body_timeout
from handlers.transport.http_server import BoundedHTTPServer
from tests.handlers.problems.test_problem import assert_is_problem
from tests.handlers.running_api import Connection, get_text, turn_of_the_loop
from tests.process import need

TIMEOUTS = Timeouts(handshake_s=10, idle_s=70, head_s=20, body_s=30, response_s=40)
# More than the buffers of both ends of a connection take in.
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
    """What each path does: `/small` and `/large` are answers, `/never` is none, `/stream` has a body without limit."""

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


class Bounded:
    """The server on a port, and the time that it goes by."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.now_s = 1_000.0
        self.server = BoundedHTTPServer(_Paths(), timeouts=TIMEOUTS, clock=lambda: self.now_s, ssl_options=tls)
        listener, self.port = bind_unused_port()
        self.server.add_socket(listener)

    @asynccontextmanager
    async def connection(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Connection]:
        connection = Connection(*await asyncio.open_connection("127.0.0.1", self.port, ssl=tls))
        try:
            yield connection
        finally:
            await connection.close()

    async def passes(self, seconds: float) -> None:
        """The server has read what was sent until now, and looks at its connections now and after some seconds."""
        for _ in range(20):
            await turn_of_the_loop()
        await self.server.close_timed_out()
        self.now_s += seconds
        await self.server.close_timed_out()

    async def close(self) -> None:
        self.server.stop()
        await self.server.close_all_connections()


@pytest.fixture
def bounded(io_loop: IOLoop) -> Iterator[Bounded]:
    async def open_it() -> Bounded:
        return Bounded()

    opened = io_loop.run_sync(open_it)
    yield opened
    io_loop.run_sync(opened.close)


async def assert_is_served(connection: Connection) -> None:
    await connection.send(get_text("/small"))
    assert (await connection.answer()).status == 200


@pytest.mark.gen_test
async def test_a_connection_that_has_asked_for_nothing_is_closed_when_its_time_is_up(bounded: Bounded) -> None:
    async with bounded.connection() as idle, bounded.connection() as used:
        await bounded.passes(69)
        await assert_is_served(used)
        await bounded.passes(1)
        assert await idle.is_closed_by_server()
        await assert_is_served(used)


@pytest.mark.gen_test
async def test_the_time_of_an_idle_connection_counts_from_its_last_request(bounded: Bounded) -> None:
    async with bounded.connection() as connection:
        for _ in range(3):
            await assert_is_served(connection)
            await bounded.passes(69)
        await assert_is_served(connection)
        await bounded.passes(70)
        assert await connection.is_closed_by_server()


@pytest.mark.gen_test
async def test_a_head_that_does_not_end_is_a_408_however_it_goes_on(bounded: Bounded) -> None:
    async with bounded.connection() as connection:
        await assert_is_served(connection)
        await bounded.passes(60)
        await connection.send(b"GET /small HTTP/1.1\r\n")
        for number in range(4):
            await bounded.passes(4)
            await connection.send(b"X-%d: 1\r\n" % number)
        await bounded.passes(4)
        answer = await connection.answer()
        problem = assert_is_problem(answer, 408, "request-timeout", "/")
        assert problem["detail"] == "The head did not come within 20 seconds."
        assert answer.headers["Connection"] == "close"
        assert await connection.is_closed_by_server()


@pytest.mark.gen_test
@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
async def test_a_body_that_does_not_end_is_a_408_however_it_goes_on(bounded: Bounded, framing: str) -> None:
    async with bounded.connection() as connection:
        await connection.send(f"POST /small HTTP/1.1\r\nHost: test\r\n{framing}\r\n\r\n".encode())
        for _ in range(5):
            await bounded.passes(6)
            await connection.send(b"1\r\nx\r\n")
        answer = await connection.answer()
        problem = assert_is_problem(answer, 408, "request-timeout", "/")
        assert problem["detail"] == "The body did not come within 30 seconds."
        assert await connection.is_closed_by_server()


@pytest.mark.gen_test
async def test_each_request_has_its_time_for_itself(bounded: Bounded) -> None:
    async with bounded.connection() as connection:
        for _ in range(3):
            await connection.send(b"POST /small HTTP/1.1\r\n")
            await bounded.passes(15)
            await connection.send(b"Content-Length: 10\r\n\r\n12345")
            await bounded.passes(20)
            await connection.send(b"67890")
            assert (await connection.answer()).status == 200


@pytest.mark.gen_test
async def test_a_long_body_has_its_time_for_each_part(bounded: Bounded) -> None:
    async with bounded.connection() as connection:
        await connection.send(f"POST /small HTTP/1.1\r\nContent-Length: {5 * BODY_STEP_BYTES}\r\n\r\n".encode())
        for _ in range(5):
            await bounded.passes(29)
            await connection.send(b"x" * BODY_STEP_BYTES)
        assert (await connection.answer()).status == 200


@pytest.mark.gen_test
async def test_a_body_without_a_limit_may_take_for_ever_but_not_the_next_one(bounded: Bounded) -> None:
    async with bounded.connection() as connection:
        await connection.send(b"POST /stream HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(3):
            await connection.send(b"1\r\nx\r\n")
            await bounded.passes(100_000)
        await connection.send(b"0\r\n\r\n")
        assert (await connection.answer()).status == 200
        await connection.send(b"POST /small HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        await bounded.passes(30)
        assert (await connection.answer()).status == 408


@pytest.mark.gen_test
async def test_an_answer_may_take_the_server_as_long_as_it_likes(bounded: Bounded) -> None:
    async with bounded.connection() as connection:
        await connection.send(get_text("/never") + get_text("/small"))
        await bounded.passes(100_000)
        assert bounded.server.connections == 1


@pytest.mark.gen_test
async def test_a_client_that_does_not_take_its_answers_is_closed_and_no_more_are_made(bounded: Bounded) -> None:
    with socket.create_connection(("127.0.0.1", bounded.port)) as client:
        client.sendall(get_text("/large") * 100)
        await bounded.passes(0)
        await bounded.passes(39)
        assert bounded.server.connections == 1
        await bounded.passes(1)
        await bounded.passes(0)
        assert bounded.server.connections == 0


@pytest.mark.gen_test
async def test_a_client_that_takes_its_answer_slowly_gets_all_of_it(bounded: Bounded) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", bounded.port, limit=RESPONSE_STEP_BYTES)
    writer.write(get_text("/large"))
    await reader.readuntil(b"\r\n\r\n")
    for _ in range(4):
        await bounded.passes(39)
        assert len(await reader.readexactly(LARGE_BYTES // 4)) == LARGE_BYTES // 4
    writer.close()
    await writer.wait_closed()


@pytest.mark.gen_test
@pytest.mark.parametrize("sent", MALFORMED, ids=lambda sent: repr(sent)[-40:])
async def test_what_is_no_http_is_a_400_and_the_end(bounded: Bounded, sent: bytes) -> None:
    async with bounded.connection() as connection:
        await connection.send(sent)
        answer = await connection.answer()
        assert_is_problem(answer, 400, "bad-request", "/")
        assert answer.headers["Connection"] == "close"
        assert answer.headers["Date"].endswith("GMT")
        assert await connection.is_closed_by_server()


@pytest.mark.gen_test
@pytest.mark.parametrize("more", [1, 500_000])
async def test_a_head_that_is_too_large_is_a_431_and_the_end(bounded: Bounded, more: int) -> None:
    async with bounded.connection() as connection:
        await connection.send(b"GET /small HTTP/1.1\r\nX: " + b"x" * (64 * 1024 + more))
        answer = await connection.answer()
        assert_is_problem(answer, 431, "head-too-large", "/")
        assert answer.headers["Connection"] == "close"
        assert await connection.is_closed_by_server()


@pytest.mark.gen_test
async def test_one_connection_too_many_is_a_503_until_another_ends(
    bounded: Bounded, log: list[logging.LogRecord]
) -> None:
    bounded.server.limit_connections(2)
    async with bounded.connection() as first:
        async with bounded.connection() as second:
            await assert_is_served(first)
            await assert_is_served(second)
            for _ in range(2):
                async with bounded.connection() as third:
                    answer = await third.answer()
                    assert_is_problem(answer, 503, "overloaded", "/")
                    assert answer.headers["Retry-After"] == "1"
                    assert await third.is_closed_by_server()
        assert [record.getMessage() for record in log] == ["all 2 connections are in use: new ones are refused"]
        log.clear()
        await assert_is_served(first)
        async with bounded.connection() as fourth:
            await assert_is_served(fourth)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    need("openssl")
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=test"]
    command = ["openssl", "req", "-x509", *kind, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    return context


@pytest.fixture
def trusting() -> ssl.SSLContext:
    """A client's context that takes any certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.mark.gen_test
async def test_a_tls_handshake_that_does_not_end_is_closed(tls: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    bounded = Bounded(tls)
    async with bounded.connection() as silent, bounded.connection() as begun, bounded.connection(trusting) as done:
        await begun.send(b"\x16\x03\x01\x02\x00\x01")
        await assert_is_served(done)
        await bounded.passes(9)
        await assert_is_served(done)
        await bounded.passes(1)
        assert await silent.is_closed_by_server()
        assert await begun.is_closed_by_server()
        await assert_is_served(done)
    await bounded.close()


@pytest.mark.gen_test
async def test_over_tls_the_limits_and_answers_are_the_same(tls: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    bounded = Bounded(tls)
    async with bounded.connection(trusting) as dripping, bounded.connection(trusting) as malformed:
        await assert_is_served(dripping)
        await dripping.send(b"GET /")
        await malformed.send(MALFORMED[0])
        assert_is_problem(await malformed.answer(), 400, "bad-request", "/")
        await bounded.passes(20)
        assert_is_problem(await dripping.answer(), 408, "request-timeout", "/")
        assert await dripping.is_closed_by_server()
    await bounded.close()
