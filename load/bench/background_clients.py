"""Clients that load a server beside the measured ones: event readers and slow clients. Run on the event loop.

`python -m load.bench.background_clients KIND URL COUNT` prints "ready" when that many are connected, keeps them until
its stdin ends, and then prints a Report as JSON.
"""

import asyncio
import socket
import sys
import time
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field

import msgspec

from load.http.address import Address, ServerUrl, Unreachable, reach
from load.system.machine import run_to_end

READERS, SLOW_CLIENTS = "readers", "slow-clients"
READY = b"ready\n"
CONNECT_S = 10.0
BUFFER = bytearray(1 << 20)  # All readers share it, since only the number of bytes matters.
QUIET_S = 0.5
LINE_INTERVAL_S = 1.0


class NoEvents(Exception):
    """The server's answer is no event stream; the text says what it is."""


class Report(msgspec.Struct, kw_only=True):
    """How many connections the server ended, the CPU time that the process used, and the bytes that readers received.

    All are counted from "ready" on. `least_bytes` and `most_bytes` are of single readers.
    """

    ended: int
    cpu_s: float
    least_bytes: int
    most_bytes: int


@dataclass
class EventReaders:
    """`count` connections that read all events; `bytes_read` is for each of them, `ended` counts ended streams.

    They read at little cost, since they share the machine with the measured server.
    """

    address: Address
    _: KW_ONLY
    count: int
    quiet_s: float = QUIET_S
    bytes_read: list[int] = field(default_factory=list, init=False)
    ended: int = field(default=0, init=False)
    _streams: list[socket.socket] = field(default_factory=list, init=False)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list, init=False)

    async def open(self) -> None:
        """Return when every stream has begun; NoEvents for another answer, OSError when there is none."""
        loop = asyncio.get_running_loop()
        self.bytes_read = [0] * self.count
        async with asyncio.timeout(CONNECT_S):
            for _ in range(self.count):
                stream = socket.socket(self.address.family, socket.SOCK_STREAM)
                self._streams.append(stream)
                stream.setblocking(False)
                await loop.sock_connect(stream, self.address.sockaddr)
                await loop.sock_sendall(stream, self.address.get("/orders/events"))
            for number, stream in enumerate(self._streams):
                status_line = (await loop.sock_recv(stream, len(BUFFER))).partition(b"\r\n")[0]
                if b" 200 " not in status_line:
                    raise NoEvents(f"GET /orders/events: {status_line.decode('latin-1') or 'no answer'}")
                self._tasks.append(asyncio.create_task(self._read(number, stream)))

    async def read_rest(self) -> None:
        """Read until nothing comes for a while."""
        before: list[int] = []
        while before != self.bytes_read:
            before = [*self.bytes_read]
            await asyncio.sleep(self.quiet_s)

    async def close(self) -> None:
        """Close every connection; may be called twice."""
        await cancel(self._tasks)
        for stream in self._streams:
            stream.close()

    async def _read(self, number: int, stream: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while received := await loop.sock_recv_into(stream, BUFFER):
                self.bytes_read[number] += received
        self.ended += 1


@dataclass
class SlowClients:
    """`count` connections that send a header line at intervals and never end their requests.

    A connection that the server closes is opened again. `ended` counts how many times it closed one.
    """

    address: Address
    _: KW_ONLY
    count: int
    interval_s: float = LINE_INTERVAL_S
    ended: int = field(default=0, init=False)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list, init=False)

    @property
    def active(self) -> int:
        """How many are still sending; fewer than `count` once the server is gone."""
        return sum(not task.done() for task in self._tasks)

    async def open(self) -> None:
        """Connect all of them, spread over one interval, and let them send until `close`; OSError if one is refused."""
        for _ in range(self.count):
            self._tasks.append(asyncio.create_task(self._send_until_gone(*await self._connect())))
            # So they do not all send their lines at the same moment.
            await asyncio.sleep(self.interval_s / self.count)

    async def close(self) -> None:
        """Close all connections; may be called twice."""
        await cancel(self._tasks)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*self.address.sockaddr[:2])
        url = self.address.url
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
                    await asyncio.wait([answer], timeout=self.interval_s)
                self.ended += 1
                writer.close()
                reader, writer = await self._connect()
        except OSError:
            return
        finally:
            writer.close()


async def cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def keep_connections(kind: str, url: ServerUrl, count: int) -> Report:
    """Keep `count` connections of a kind until stdin ends."""
    address = await reach(url)
    clients = EventReaders(address, count=count) if kind == READERS else SlowClients(address, count=count)
    read = [0]
    try:
        await clients.open()
        sys.stdout.buffer.write(READY)
        sys.stdout.buffer.flush()
        begun_ns = time.process_time_ns()
        await asyncio.to_thread(sys.stdin.read)
        if isinstance(clients, EventReaders):
            await clients.read_rest()
            read = clients.bytes_read
        cpu_s = (time.process_time_ns() - begun_ns) / 1e9
        return Report(ended=clients.ended, cpu_s=cpu_s, least_bytes=min(read), most_bytes=max(read))
    finally:
        await clients.close()


if __name__ == "__main__":
    try:
        report = run_to_end(keep_connections(sys.argv[1], ServerUrl.parse(sys.argv[2]), int(sys.argv[3])))
    except (Unreachable, NoEvents, OSError) as problem:
        sys.exit(str(problem))
    sys.stdout.buffer.write(msgspec.json.encode(report))
