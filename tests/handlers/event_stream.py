"""Clients of event streams: a client that reads when the test says so, and a client that never reads."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tornado.httputil import HTTPHeaders

from handlers.sse.connection import SseConnection
from tests.sse import EventParser, Message


class Stream:
    """A stream of Server-Sent Events that the test reads event by event."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.parser = EventParser()
        self.headers = HTTPHeaders()
        self._reader = reader
        self._writer = writer
        self._messages: list[Message] = []
        self._ended = False

    async def open(self, request: bytes) -> None:
        self._writer.write(request)
        start_line, _, fields = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin1").partition("\r\n")
        assert start_line == "HTTP/1.1 200 OK"
        self.headers = HTTPHeaders.parse(fields)
        while self.parser.retry_ms is None:
            await self._read()

    @property
    def local_address(self) -> tuple[str, int]:
        address: tuple[str, int] = self._writer.get_extra_info("sockname")
        return address

    async def next(self) -> Message:
        while not self._messages:
            assert not self._ended, "the stream has ended"
            await self._read()
        return self._messages.pop(0)

    async def take(self, count: int) -> list[Message]:
        return [await self.next() for _ in range(count)]

    async def statuses(self, count: int) -> list[tuple[int, str]]:
        return [(each.json["order_id"], each.json["status"]) for each in await self.take(count)]

    async def rest(self) -> list[Message]:
        """All messages until the stream ends. Fails if the stream ends within an event."""
        while not self._ended:
            await self._read()
        self.parser.end()
        return self._messages

    async def until_comments(self, count: int) -> None:
        while len(self.parser.comments) < count:
            await self._read()

    async def _read(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            data = (await self._reader.readexactly(size + 2))[:-2]
        else:
            data = await self._reader.read(65_536)
        self._ended = not data
        self._messages += self.parser.feed(data)


def unsent_bytes(connection: SseConnection) -> int:
    """How many bytes the server buffers for a reader. Uses a private attribute of Tornado."""
    return len(connection.stream._write_buffer)


@asynccontextmanager
async def open_stream(port: int, request: bytes) -> AsyncIterator[Stream]:
    """Opens a stream, and reads its headers and its `retry` field."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    stream = Stream(reader, writer)
    try:
        await stream.open(request)
        yield stream
    finally:
        writer.close()
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            await writer.wait_closed()


async def silent_reader(port: int, request: bytes) -> socket.socket:
    """The socket of a client that sends the request and never reads."""
    silent = socket.socket()
    silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    silent.setblocking(False)
    await asyncio.get_running_loop().sock_connect(silent, ("127.0.0.1", port))
    silent.send(request)
    return silent
