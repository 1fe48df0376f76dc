"""Owns one keep-alive connection and the reading of HTTP answers from its bytes, on the event loop's thread.

Tornado's HTTP client opens a connection a request; this one writes pre-encoded bytes to an IOStream and reads the
whole answer with one future where it comes in one piece.
"""

import os
import socket
from typing import NamedTuple

from tornado.iostream import IOStream, SSLIOStream, StreamClosedError

from load.address import Address, reason_of

# IOStream allocates a buffer of this size at every read: an order's answer fits, longer ones take more reads.
READ_CHUNK = 4096


class NoAnswer(Exception):
    """The request got no answer that counts; the text says why."""


class NoConnection(NoAnswer):
    """The request was not sent: no connection could be made."""


class MalformedAnswer(ValueError):
    """The bytes are no answer that this client can read."""


class Answer(NamedTuple):
    """One answer; `head` is its status line and headers in lower case, without the blank line."""

    status: int
    head: bytes
    body: bytes
    keep_alive: bool


class Connection:
    """One client's connection: opened at the first request, and opened again after a failure or `Connection: close`."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._stream: IOStream | None = None
        self._abandoned = ""

    async def exchange(self, request: bytes) -> Answer:
        """Send one request and give its answer; NoConnection when it was not sent, else NoAnswer."""
        self._abandoned = ""
        stream = self._stream
        if stream is None or stream.closed():
            stream = await self._open()
        try:
            stream.write(request)
            answer = await self._read(stream)
        except StreamClosedError as problem:
            raise NoAnswer(self._abandoned or reason_of(problem, "connection closed before the answer")) from None
        except MalformedAnswer as problem:
            stream.close()
            raise NoAnswer(str(problem)) from None
        if not answer.keep_alive:
            stream.close()
        return answer

    def abandon(self, reason: str) -> None:
        """Give up what is under way: its `exchange` raises with this reason."""
        self._abandoned = reason
        self.close()

    def close(self) -> None:
        """Close the connection; it may be closed already."""
        if self._stream is not None:
            self._stream.close()

    async def _open(self) -> IOStream:
        try:
            stream = self._new_stream()
        except OSError as problem:
            raise NoConnection(os.strerror(problem.errno or 0).lower()) from None
        stream.set_nodelay(True)
        self._stream = stream
        try:
            connecting = stream.connect(self._address.sockaddr, server_hostname=self._address.url.host)
            if stream.closed():
                # Refused at once: with TLS the handshake would be waited for in vain.
                raise StreamClosedError(stream.error)
            await connecting
        except (StreamClosedError, OSError) as problem:
            # A stream with TLS raises the error itself.
            if self._abandoned:
                raise NoAnswer(self._abandoned) from None
            raise NoConnection(reason_of(problem, "connection closed")) from None
        return stream

    def _new_stream(self) -> IOStream:
        new_socket = socket.socket(self._address.family, socket.SOCK_STREAM)
        if self._address.tls is None:
            return IOStream(new_socket, read_chunk_size=READ_CHUNK)
        return SSLIOStream(new_socket, ssl_options=self._address.tls, read_chunk_size=READ_CHUNK)

    async def _read(self, stream: IOStream) -> Answer:
        data = await stream.read_bytes(READ_CHUNK, partial=True)
        answer = parse_answer(data)
        while answer is None:
            try:
                data += await stream.read_bytes(READ_CHUNK, partial=True)
            except StreamClosedError as problem:
                answer = parse_answer(data, ended=problem.real_error is None and not self._abandoned)
                if answer is None:
                    broken = reason_of(problem, "connection closed in the middle of the answer")
                    raise NoAnswer(self._abandoned or broken) from None
            else:
                answer = parse_answer(data)
        return answer


def parse_answer(data: bytes, *, ended: bool = False) -> Answer | None:
    """Read one answer, or give None while bytes are missing.

    `ended` says that no more will come: an answer without Content-Length is whole only then. Informational answers
    (1xx) are passed over. MalformedAnswer for what is no HTTP, for chunked bodies and for bytes past the end.
    """
    head_end = data.find(b"\r\n\r\n")
    if head_end < 0:
        if data and not b"HTTP/1.".startswith(data[:7]):
            raise MalformedAnswer("not an HTTP/1 answer")
        return None
    head = data[:head_end].lower()
    if not (head.startswith((b"http/1.1 ", b"http/1.0 ")) and head[9:12].isdigit()):
        raise MalformedAnswer("not an HTTP/1 answer")
    status = int(head[9:12])
    body = data[head_end + 4 :]
    if status < 200:
        return parse_answer(body, ended=ended)
    keep_alive = head[7:8] == b"1" and b"\r\nconnection: close" not in head
    length = _content_length(head, status)
    if length is None:
        return Answer(status, head, body, False) if ended else None
    if len(body) < length:
        return None
    if len(body) > length:
        raise MalformedAnswer("more bytes than its Content-Length says")
    return Answer(status, head, body, keep_alive)


def _content_length(head: bytes, status: int) -> int | None:
    found = head.find(b"\r\ncontent-length:")
    if found < 0:
        if b"\r\ntransfer-encoding:" in head:
            raise MalformedAnswer("a chunked answer, which the load generator does not read")
        return 0 if status in (204, 304) else None
    end = head.find(b"\r\n", found + 2)
    digits = head[found + 17 : end if end >= 0 else None].strip()
    if not digits.isdigit():
        raise MalformedAnswer("a Content-Length that is no number")
    return int(digits)
