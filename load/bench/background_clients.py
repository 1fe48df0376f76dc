"""Clients that load a server beside the measured ones: event readers and slow clients. Run on the event loop."""

import asyncio
from typing import cast

from load.http.address import Address

CONNECT_S = 10.0
BUFFER = bytearray(1 << 20)  # All readers share it, since only the number of bytes matters.
QUIET_S = 0.5
LINE_INTERVAL_S = 1.0
GROUPS = 20


class NoEvents(Exception):
    """The server's answer is no event stream; the text says what it is."""


class EventReader(asyncio.BufferedProtocol):
    """One connection that reads all events, at little cost, since it shares the machine with the measured server.

    `begun` has its result when the answer begins: what is wrong with it, or an empty text. `bytes_read` counts the
    bytes that follow.
    """

    def __init__(self, request: bytes) -> None:
        self.begun: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.bytes_read = 0
        self.ended = False
        self._request = request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)
        self.transport.write(self._request)

    def get_buffer(self, sizehint: int) -> bytearray:
        return BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        if self.begun.done():
            self.bytes_read += nbytes
        else:
            status_line = bytes(BUFFER[:nbytes]).partition(b"\r\n")[0]
            self.begun.set_result("" if b" 200 " in status_line else status_line.decode("latin-1"))

    def connection_lost(self, problem: Exception | None) -> None:
        self.ended = True
        if not self.begun.done():
            self.begun.set_result("no answer")


class EventReaders:
    """`count` connections that read all events; `bytes_read` is for each of them, `ended` counts ended streams."""

    def __init__(self, address: Address, *, count: int, quiet_s: float = QUIET_S) -> None:
        self._address = address
        self._count = count
        self._quiet_s = quiet_s
        self._readers: list[EventReader] = []

    @property
    def bytes_read(self) -> list[int]:
        return [reader.bytes_read for reader in self._readers]

    @property
    def ended(self) -> int:
        return sum(reader.ended for reader in self._readers)

    async def open(self) -> None:
        """Return when every stream has begun; NoEvents for another answer, OSError when there is none."""
        request, (host, port, *_) = self._address.get("/orders/events"), self._address.sockaddr
        connect = asyncio.get_running_loop().create_connection
        async with asyncio.timeout(CONNECT_S):
            for _ in range(self._count):
                self._readers.append((await connect(lambda: EventReader(request), host, port))[1])
            for reader in self._readers:
                if fault := await reader.begun:
                    raise NoEvents(f"GET /orders/events: {fault}")

    async def read_rest(self) -> None:
        """Read until nothing comes for a while."""
        before = None
        while before != self.bytes_read:
            before = self.bytes_read
            await asyncio.sleep(self._quiet_s)

    async def close(self) -> None:
        """Close every connection; may be called twice."""
        for reader in self._readers:
            reader.transport.abort()


class SlowClients:
    """`count` connections that send a header line at intervals and never end their requests.

    A connection that the server closes is opened again. `ended` counts how many times it closed one.
    """

    def __init__(self, address: Address, *, count: int, interval_s: float = LINE_INTERVAL_S) -> None:
        self.ended = 0
        self._address = address
        self._count = count
        self._interval_s = interval_s
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def active(self) -> int:
        """How many are still sending; fewer than `count` once the server is gone."""
        return sum(not task.done() for task in self._tasks)

    async def open(self) -> None:
        """Connect all of them and let them send until `close`; OSError when the server refuses one.

        They connect in groups during one interval, so that they do not all send their lines at the same moment.
        """
        for group in range(GROUPS):
            size = self._count * (group + 1) // GROUPS - self._count * group // GROUPS
            streams = await asyncio.gather(*(self._connect() for _ in range(size)))
            self._tasks += [asyncio.create_task(self._send_until_gone(*each)) for each in streams]
            await asyncio.sleep(self._interval_s / GROUPS)

    async def close(self) -> None:
        """Close all connections; may be called twice."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*self._address.sockaddr[:2])
        url = self._address.url
        writer.write(f"GET {url.path}/livez HTTP/1.1\r\nHost: {url.netloc}\r\n".encode())
        return reader, writer

    async def _send_until_gone(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send lines until the server closes the connection, then on a new one, until there is no server."""
        try:
            while True:
                # The end of the connection shows only to a reader.
                answer = asyncio.gather(reader.read(), return_exceptions=True)
                while not answer.done():
                    writer.write(b"X-Slow: line\r\n")
                    await asyncio.wait([answer], timeout=self._interval_s)
                self.ended += 1
                writer.close()
                reader, writer = await self._connect()
        except OSError:
            return
        finally:
            writer.close()
