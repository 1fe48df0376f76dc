"""Tests the lane's parser of request heads: for every head that it accepts, Tornado's parser gives an equal result."""

import re
import socket
from collections.abc import Awaitable, Mapping
from typing import NamedTuple, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters, HTTP1ServerConnection
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream

from handlers.transport.plain_head import MAX_HEAD_BYTES, read_plain_head
from tests.cases import cases
from tests.examples import examples
from tests.handlers.running_api import until

BODY = b"abc"
PLAIN = b"POST /order HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc"
NEXT = b"GET /next HTTP/1.1\r\nHost: next\r\n\r\n"


class Reading(NamedTuple):
    """The parts of a request as a parser reads them. The names of the header fields are in lower case."""

    method: str
    path: str
    fields: Mapping[str, str]
    body: bytes


class Reader(HTTPServerConnectionDelegate):
    """Records all requests that Tornado reads from a connection, and responds with a 204."""

    def __init__(self) -> None:
        self.readings: list[Reading] = []

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        return _Request(self, request_conn)


class _Request(HTTPMessageDelegate):
    def __init__(self, reader: Reader, connection: HTTPConnection) -> None:
        self._reader = reader
        self._connection = connection
        self._body = b""

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> None:
        assert isinstance(start_line, RequestStartLine)
        self._start_line, self._headers = start_line, headers

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        self._body += chunk
        return None

    def finish(self) -> None:
        # After its last response, Tornado reads the requests that it has already received, but sends no response.
        if cast(HTTP1Connection, self._connection).stream.closed():
            return
        fields = {name.lower(): value for name, value in self._headers.get_all()}
        self._reader.readings.append(Reading(self._start_line.method, self._start_line.path, fields, self._body))
        self._connection.write_headers(ResponseStartLine("HTTP/1.1", 204, "No Content"), HTTPHeaders(), b"")
        self._connection.finish()


async def read_by_tornado(data: bytes) -> list[Reading]:
    """Returns the requests that Tornado reads from a client that sends `data` and closes its sending side."""
    ours, theirs = socket.socketpair()
    reader = Reader()
    with theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        stream = IOStream(ours)
        connection = HTTP1ServerConnection(stream, HTTP1ConnectionParameters(no_keep_alive=False), None)
        connection.start_serving(reader)
        await until(stream.closed)
        await connection.close()
    return reader.readings


def read_by_lane(data: bytes) -> list[Reading]:
    """Returns the requests that the lane reads, up to the first one that is not plain."""
    readings = []
    while head := read_plain_head(data):
        readings.append(Reading(head.method, head.path, head.fields, data[head.body_start : head.body_end]))
        if head.is_last:
            break
        data = data[head.body_end :]
    return readings


def with_fields(*lines: bytes, start_line: bytes = b"POST /order HTTP/1.1", end: bytes = b"\r\n") -> bytes:
    """Returns a request with these header lines and a body of three bytes."""
    return end.join([start_line, *lines, b"", b""]) + BODY


HOST, LENGTH = b"Host: test", b"Content-Length: 3"
LEFT_TO_TORNADO = [
    with_fields(HOST, LENGTH, b"Transfer-Encoding: chunked"),
    with_fields(HOST, b"Transfer-Encoding: chunked", LENGTH),
    with_fields(HOST, b"Transfer-Encoding: xchunked"),
    with_fields(HOST, b"Transfer-Encoding: chunked, identity"),
    with_fields(HOST, b"Transfer-Encoding: gzip, chunked"),
    with_fields(HOST, b"Transfer-Encoding: \x0bchunked"),
    with_fields(HOST, b"Transfer-Encoding : chunked"),
    with_fields(HOST, b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
    with_fields(HOST, LENGTH, b"Content-Length: 4"),
    with_fields(HOST, LENGTH, LENGTH),
    with_fields(HOST, b"Content-Length: 3, 3"),
    with_fields(HOST, b"Content-Length: +3"),
    with_fields(HOST, b"Content-Length: -1"),
    with_fields(HOST, b"Content-Length: 0x3"),
    with_fields(HOST, b"Content-Length: 0_3"),
    with_fields(HOST, b"Content-Length: 3 3"),
    with_fields(HOST, b"Content-Length: 3.0"),
    with_fields(HOST, b"Content-Length: \xb2"),
    with_fields(HOST, b"Content-Length:"),
    with_fields(HOST, b"Content-Length: 18446744073709551619"),
    with_fields(HOST, b"Content-Length : 3"),
    with_fields(HOST, b" Content-Length: 3"),
    with_fields(HOST, LENGTH, b"Connection: keep-alive, close"),
    with_fields(HOST, LENGTH, b"Connection: close, close"),
    with_fields(HOST, LENGTH, b"Connection: close, Content-Length"),
    with_fields(HOST, LENGTH, b"Connection: close", b"Connection: keep-alive"),
    with_fields(HOST, LENGTH, b"Connection: close", b"Transfer-Encoding: chunked"),
    with_fields(HOST, LENGTH, b"Connection: closed"),
    with_fields(HOST, LENGTH, b"Connection:"),
    with_fields(HOST, LENGTH, b"Proxy-Connection: close", b"Connection: Proxy-Connection"),
    with_fields(HOST, LENGTH, b"Connection: keep-alive, Content-Length"),
    with_fields(HOST, LENGTH, b"Connection: Upgrade", b"Upgrade: h2c"),
    with_fields(HOST, LENGTH, b"Upgrade: websocket"),
    with_fields(HOST, LENGTH, b"Expect: 100-continue"),
    with_fields(HOST, LENGTH, b"Content-Encoding: gzip"),
    with_fields(HOST, LENGTH, b"TE: trailers"),
    with_fields(HOST, LENGTH, b"Trailer: X"),
    with_fields(HOST, LENGTH, end=b"\n"),
    with_fields(HOST + b"\nContent-Length: 3"),
    with_fields(HOST, b"X: a\rContent-Length: 3"),
    with_fields(HOST, b"X: a\r", LENGTH),
    with_fields(HOST, b"X: a", b" folded", LENGTH),
    with_fields(HOST, b"X: a\0b", LENGTH),
    with_fields(HOST, b"X: a\x7fb", LENGTH),
    with_fields(HOST, b"X\xff: a", LENGTH),
    with_fields(HOST, b"X y: a", LENGTH),
    with_fields(HOST, b": a", LENGTH),
    with_fields(HOST, b"no colon", LENGTH),
    with_fields(HOST, LENGTH, b"X: 1", b"x: 2"),
    with_fields(LENGTH),
    with_fields(HOST, b"Host: other", LENGTH),
    with_fields(b"Host:", LENGTH),
    with_fields(b"Host: a b", LENGTH),
    with_fields(b"Host: a,b", LENGTH),
    with_fields(b"Host: a/b", LENGTH),
    with_fields(b"Host: user@test", LENGTH),
    with_fields(b"Host: test:x", LENGTH),
    with_fields(HOST, LENGTH, b"Connection: keep-alive", start_line=b"POST /order HTTP/1.0"),
    with_fields(HOST, b"Transfer-Encoding: chunked", start_line=b"POST /order HTTP/1.0"),
    with_fields(LENGTH, start_line=b"POST /order HTTP/1.0"),
    with_fields(HOST, LENGTH, start_line=b"POST /order HTTP/1.00"),
    with_fields(HOST, LENGTH, start_line=b"POST /order HTTP/1."),
    with_fields(HOST, LENGTH, start_line=b"POST /order HTTP/0.1"),
    with_fields(HOST, LENGTH, start_line=b"POST /order HTTP/1.2"),
    with_fields(HOST, LENGTH, start_line=b"POST /order HTTP/2.0"),
    with_fields(HOST, LENGTH, start_line=b"POST /order http/1.1"),
    with_fields(HOST, LENGTH, start_line=b"POST /order"),
    with_fields(HOST, LENGTH, start_line=b"POST  /order HTTP/1.1"),
    with_fields(HOST, LENGTH, start_line=b"POST /order  HTTP/1.1"),
    with_fields(HOST, LENGTH, start_line=b"POST\t/order\tHTTP/1.1"),
    with_fields(HOST, LENGTH, start_line=b"POST /order HTTP/1.1 "),
    with_fields(HOST, LENGTH, start_line=b" POST /order HTTP/1.1"),
    with_fields(HOST, LENGTH, start_line=b"\r\nPOST /order HTTP/1.1"),
    with_fields(HOST, LENGTH, start_line=b"post /order HTTP/1.1"),
    with_fields(HOST, LENGTH, start_line=b"PUT /order HTTP/1.1"),
    with_fields(HOST, LENGTH, start_line=b"POST http://test/order HTTP/1.1"),
    with_fields(HOST, LENGTH, start_line=b"POST /order?x=1 HTTP/1.1"),
    with_fields(HOST, LENGTH, start_line=b"POST /order#x HTTP/1.1"),
    with_fields(HOST, LENGTH, start_line=b"POST /%6frder HTTP/1.1"),
    with_fields(HOST, LENGTH, start_line=b"POST /or\x7fder HTTP/1.1"),
    with_fields(HOST, LENGTH, start_line=b"POST * HTTP/1.1"),
    with_fields(HOST, LENGTH, b"X: " + b"x" * MAX_HEAD_BYTES),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /order\r\n\r\n",
    PLAIN[:30],
    b"",
]
PLAIN_ONES = [
    PLAIN,
    with_fields(b"hOsT:test", b"CONTENT-LENGTH:\t 003 \t"),
    with_fields(HOST, LENGTH, b"Connection: Keep-Alive"),
    with_fields(HOST, LENGTH, b"Connection: close"),
    with_fields(HOST, LENGTH, b"connection:\tCLOSE "),
    with_fields(HOST, LENGTH, start_line=b"POST /order HTTP/1.0"),
    with_fields(HOST, LENGTH, b"Connection: close", start_line=b"POST /order HTTP/1.0"),
    b"GET /order/1 HTTP/1.0\r\nHost: test\r\n\r\n",
    with_fields(b"Host: [::1]:8080", LENGTH, b"X: \xe9\xff ", b"Y:", b"Z: a:b: c"),
    with_fields(HOST, LENGTH, b"!#$%&'*+-.^_`|~0aZ: a\tb"),
    b"GET /order/1 HTTP/1.1\r\nHost: test\r\n\r\n",
    with_fields(HOST, LENGTH, start_line=b"GET /a/../b_c-d.e~ HTTP/1.1"),
]
PIECES = [bytes([each]) for each in b" \t\r\n\v\0:,;/%?#_-+.019aZ\x7f\x80\xff"] + [b"\r\n"]
LINES = [
    b"Content-Length: 2\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Host: other\r\n",
    b"X: y\r\n",
    b"Y:\t\r\n",
    b"Y_-: \xff:\r\n",
]


@cases("data", LEFT_TO_TORNADO)
def test_what_is_not_plain_is_left_to_tornado(data: bytes) -> None:
    assert read_by_lane(data) == []


@pytest.mark.gen_test
@cases("data", PLAIN_ONES)
async def test_a_plain_request_is_read_as_tornado_reads_it(data: bytes) -> None:
    readings = read_by_lane(data + NEXT)
    assert readings
    assert readings == await read_by_tornado(data + NEXT)


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    """Generates a plain request with a few changes."""
    data = draw(st.sampled_from(PLAIN_ONES))
    for _ in range(draw(st.integers(0, 2))):
        if draw(st.booleans()):
            line_start = draw(st.sampled_from([found.end() for found in re.finditer(b"\r\n", data)] or [0]))
            data = data[:line_start] + draw(st.sampled_from(LINES)) + data[line_start:]
        else:
            place, removed = draw(st.integers(0, len(data))), draw(st.integers(0, 2))
            data = data[:place] + draw(st.sampled_from([b"", *PIECES])) + data[place + removed :]
    return data


def test_tornado_reads_every_request_that_the_lane_accepts_in_the_same_way(io_loop: IOLoop) -> None:
    accepted = closing = 0

    @settings(max_examples=examples(600), database=None, derandomize=True)
    @given(changed())
    def check(data: bytes) -> None:
        nonlocal accepted, closing
        head = read_plain_head(data)
        if head is None or len(data) < head.body_end:
            return
        accepted += 1
        closing += head.is_last
        # The request that follows shows that both parsers end the body at the same byte, or both close the connection.
        data = data[: head.body_end] + NEXT
        assert read_by_lane(data) == io_loop.run_sync(lambda: read_by_tornado(data))

    check()
    assert accepted > examples(100)
    assert closing > examples(20)
