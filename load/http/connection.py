"""One keep-alive connection that sends requests and reads responses. Runs on the event loop.

Tornado's HTTP client opens a connection for each request; this one writes encoded bytes to an IOStream and reads the
whole response with one future if it comes in one piece.
"""

import asyncio
import os
import socket

from tornado.iostream import IOStream, SSLIOStream, StreamClosedError

from load.cli.errors import CommandError
from load.http.address import Address, reason_of
from load.http.response import MalformedResponse, Response, ResponseReader

READ_CHUNK = 4096
"""IOStream allocates this many bytes at every read: the response for an order fits, longer ones take more reads."""
RESPONSE_S = 30.0


class NoResponse(CommandError):
    """The request got no valid response; the text says why."""


class TooSlow(NoResponse):
    """No response came in time."""


class NoConnection(NoResponse):
    """The request was not sent, because no connection could be opened."""


class Connection:
    """Opened at the first request, and again after a failure or `Connection: close`."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._stream: IOStream | None = None
        self._abandoned = ""

    async def exchange(self, request: bytes) -> Response:
        """Send one request and return its response; NoConnection if it was not sent, else NoResponse."""
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
        """Close the connection; may be called twice."""
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
                # Refused at once: with TLS this would wait for the handshake in vain.
                raise StreamClosedError(stream.error)
            await connecting
        except (StreamClosedError, OSError) as problem:
            # A stream with TLS raises the error itself.
            if self._abandoned:
                raise NoResponse(self._abandoned) from None
            raise NoConnection(reason_of(problem, "connection closed")) from None
        return stream

    async def _read(self, stream: IOStream) -> Response:
        reader = ResponseReader()
        response = reader.add(await stream.read_bytes(READ_CHUNK, partial=True))
        while response is None:
            # Bytes that are buffered are returned at once: without this the loop would not turn while more arrive.
            await asyncio.sleep(0)
            try:
                data = await stream.read_bytes(READ_CHUNK, partial=True)
            except StreamClosedError as problem:
                response = reader.add(b"", ended=problem.real_error is None and not self._abandoned)
                if response is None:
                    broken = reason_of(problem, "connection closed in the middle of the answer")
                    raise NoResponse(self._abandoned or broken) from None
            else:
                response = reader.add(data)
        return response


async def send_request(connection: Connection, request: bytes, *, limit_s: float = RESPONSE_S) -> Response:
    """Send a request and return its response; NoResponse, also if none comes within `limit_s`."""
    try:
        # Not wait_for: until Python 3.12 it loses a Ctrl-C that arrives together with the response.
        async with asyncio.timeout(limit_s):
            return await connection.exchange(request)
    except TimeoutError:
        connection.close()
        raise TooSlow(f"no answer within {limit_s:g} s") from None
