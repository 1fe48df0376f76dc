"""Sends requests and reads responses on one keep-alive connection. Runs on the event loop.

Such a connection is faster than Tornado's HTTP client, which opens a connection for each request. A `Connection` writes
encoded bytes to an IOStream, and needs only one future for a response that arrives in one piece.
"""

import asyncio
import os
import re
import socket
from contextlib import closing
from typing import NamedTuple

from tornado.iostream import IOStream, SSLIOStream, StreamClosedError

from load.cli.errors import CommandError
from load.http.address import Address, reason_of

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 16 * 1024 * 1024
LENGTH_DIGITS = 15
HEAD_END = b"\r\n\r\n"
STATUS_LINE = re.compile(rb"http/1\.[01] ([0-9]{3})")
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length:([^\r]*)")
READ_CHUNK = 4096  # IOStream allocates this many bytes for each read. The response to one order fits into one read.
RESPONSE_S = 30.0


class MalformedResponse(ValueError):
    """The bytes are not a response that this client can read."""


class Response(NamedTuple):
    """One response; `head` is its status line and headers in lower case, without the blank line."""

    status: int
    head: bytes
    body: bytes
    keep_alive: bool


def parse_response(data: bytes | bytearray, *, ended: bool = False) -> Response | None:
    """Parse all bytes that came for one response. Return None if it is incomplete. `ended`: the connection was closed.

    Skips informational responses (1xx). Raises MalformedResponse if the response is not HTTP/1, has a chunked body, has
    bytes after its end, or is too long: over 64 KiB for all heads, or over 16 MiB for the body.
    """
    status, begin, head = 0, 0, b""
    while status < 200:
        end = data.find(HEAD_END, begin)
        if (len(data) if end < 0 else end) > MAX_HEAD_BYTES:
            raise MalformedResponse(f"headers of over {MAX_HEAD_BYTES >> 10} KiB")
        if end < 0 and b"HTTP/1.".startswith(data[begin : begin + 7]):
            return None
        head = bytes(data[begin:end]).lower()
        found = STATUS_LINE.match(head)
        if end < 0 or not found:
            raise MalformedResponse("not an HTTP/1 answer")
        status, begin = int(found[1]), end + len(HEAD_END)
    size, length = len(data) - begin, _content_length(head, status)
    if length is None and size > MAX_BODY_BYTES:
        raise MalformedResponse(f"a body of over {MAX_BODY_BYTES >> 20} MiB")
    if length is not None and size > length:
        raise MalformedResponse("more bytes than its Content-Length says")
    if size != length and not (length is None and ended):
        return None
    is_kept = length is not None and head[7:8] == b"1" and b"\r\nconnection: close" not in head
    return Response(status, head, bytes(data[begin:]), is_kept)


def _content_length(head: bytes, status: int) -> int | None:
    found = CONTENT_LENGTH.search(head)
    if not found:
        if b"\r\ntransfer-encoding:" in head:
            raise MalformedResponse("a chunked answer, which the load generator does not read")
        return 0 if status in (204, 304) else None
    digits = found[1].strip()
    # int() raises ValueError for thousands of digits.
    length = int(digits) if digits.isdigit() and len(digits) <= LENGTH_DIGITS else MAX_BODY_BYTES + 1
    if length > MAX_BODY_BYTES:
        raise MalformedResponse(f"a Content-Length that is not a number of up to {MAX_BODY_BYTES >> 20} MiB")
    return length


class NoResponse(CommandError):
    """The request got no valid response; the text says why."""


class TooSlow(NoResponse):
    """No response came in time."""


class NoConnection(NoResponse):
    """The request was not sent, because no connection could be opened."""


class Connection:
    """A keep-alive connection. Opens at the first request, and again after a failure or `Connection: close`."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._stream: IOStream | None = None
        self._abandoned = ""

    async def exchange(self, request: bytes) -> Response:
        """Send one request and return its response. Raises NoConnection if no connection was opened, or NoResponse."""
        self._abandoned = ""
        stream = self._stream
        if stream is None or stream.closed():
            stream = await self._open()
        try:
            stream.write(request)
            response = await self._read(stream)
        except StreamClosedError as problem:
            raise NoResponse(self._abandoned or reason_of(problem, "connection closed before the answer")) from None
        except MalformedResponse as problem:
            stream.close()
            raise NoResponse(str(problem)) from None
        if not response.keep_alive:
            stream.close()
        return response

    def abandon(self, reason: str) -> None:
        """Abandon the current request: its `exchange` raises NoResponse with this reason."""
        self._abandoned = reason
        self.close()

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()

    async def _open(self) -> IOStream:
        tls = self._address.tls
        try:
            new_socket = socket.socket(self._address.family, socket.SOCK_STREAM)
        except OSError as problem:
            raise NoConnection(os.strerror(problem.errno or 0).lower()) from None
        if tls is None:
            stream = IOStream(new_socket, read_chunk_size=READ_CHUNK)
        else:
            stream = SSLIOStream(new_socket, ssl_options=tls, read_chunk_size=READ_CHUNK)
        stream.set_nodelay(True)
        self._stream = stream
        try:
            connecting = stream.connect(self._address.sockaddr, server_hostname=self._address.url.host)
            if stream.closed():
                # The connection was refused at once. With TLS, `connecting` would never complete.
                raise StreamClosedError(stream.error)
            await connecting
        except (StreamClosedError, OSError) as problem:
            # With TLS, the stream raises an OSError instead of a StreamClosedError.
            if self._abandoned:
                raise NoResponse(self._abandoned) from None
            raise NoConnection(reason_of(problem, "connection closed")) from None
        return stream

    async def _read(self, stream: IOStream) -> Response:
        data = bytearray(await stream.read_bytes(READ_CHUNK, partial=True))
        while (response := parse_response(data)) is None:
            # Lets other tasks run: reads of buffered bytes complete without a return to the event loop.
            await asyncio.sleep(0)
            try:
                data += await stream.read_bytes(READ_CHUNK, partial=True)
            except StreamClosedError as problem:
                has_ended = problem.real_error is None and not self._abandoned
                if response := parse_response(data, ended=has_ended):
                    return response
                broken = reason_of(problem, "connection closed in the middle of the answer")
                raise NoResponse(self._abandoned or broken) from None
        return response


async def send_request(connection: Connection, request: bytes, *, limit_s: float = RESPONSE_S) -> Response:
    """Send a request and return its response. Raises NoResponse if it fails, TooSlow after `limit_s` seconds."""
    try:
        # Not asyncio.wait_for: before Python 3.12, it loses a Ctrl-C that arrives together with the response.
        async with asyncio.timeout(limit_s):
            return await connection.exchange(request)
    except TimeoutError:
        connection.close()
        raise TooSlow(f"no answer within {limit_s:g} s") from None


async def send_once(address: Address, request: bytes, *, limit_s: float = RESPONSE_S) -> Response:
    """Send a request like `send_request`, on a connection of its own."""
    with closing(Connection(address)) as connection:
        return await send_request(connection, request, limit_s=limit_s)
