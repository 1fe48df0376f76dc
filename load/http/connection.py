"""Owns one keep-alive connection: requests go out on it and answers come in, on the event loop's thread.

Tornado's HTTP client opens a connection a request; this one writes pre-encoded bytes to an IOStream and reads the
whole answer with one future where it comes in one piece.
"""

import asyncio
import os
import socket

from tornado.iostream import IOStream, SSLIOStream, StreamClosedError

from load.cli.errors import CommandError
from load.http.address import Address, reason_of
from load.http.response import Answer as Answer
from load.http.response import AnswerReader, MalformedAnswer

# IOStream allocates a buffer of this size at every read: an order's answer fits, longer ones take more reads.
READ_CHUNK = 4096


class NoAnswer(CommandError):
    """The request got no answer that counts; the text says why."""


class NoConnection(NoAnswer):
    """The request was not sent: no connection could be made."""


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
        reader = AnswerReader()
        answer = reader.add(await stream.read_bytes(READ_CHUNK, partial=True))
        while answer is None:
            # Bytes that are there already are given at once: without this the loop would not turn while more come.
            await asyncio.sleep(0)
            try:
                data = await stream.read_bytes(READ_CHUNK, partial=True)
            except StreamClosedError as problem:
                answer = reader.add(b"", ended=problem.real_error is None and not self._abandoned)
                if answer is None:
                    broken = reason_of(problem, "connection closed in the middle of the answer")
                    raise NoAnswer(self._abandoned or broken) from None
            else:
                answer = reader.add(data)
        return answer
