"""Runs another process during a measurement: wrk, or clients that keep connections open. Runs on the event loop.

`python -m load.bench.background_connections KIND URL COUNT` connects COUNT clients and prints "ready". KIND is
"readers" (they read events) or "slow-clients". When standard input is closed, the command disconnects the clients and
prints a Report as JSON.
"""

import asyncio
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import TypeVar, cast

import msgspec

from load.cli.errors import CommandError
from load.http.address import Address, ServerUrl, reach
from load.system.event_loop import run_to_end
from load.system.server_process import ROOT

READERS, SLOW_CLIENTS = "readers", "slow-clients"
READY = b"ready\n"
CONNECT_S = 10.0
BUFFER = bytearray(1 << 20)  # All readers receive into this buffer, because only the number of bytes matters.
QUIET_S = 0.5
LINE_INTERVAL_S = 1.0
READY_S = 30.0
AnyReport = TypeVar("AnyReport")


class Report(msgspec.Struct, kw_only=True):
    """What the process that runs the clients measured. `cpu_s` is its CPU time since all clients were connected.

    `ended` counts the connections that the server closed. `least_bytes` and `most_bytes` are the fewest and the most
    bytes that one reader received; both are 0 for slow clients.
    """

    ended: int
    cpu_s: float
    least_bytes: int
    most_bytes: int


@dataclass
class EventReaders:
    """Reads events on `count` connections. `ended` counts closed connections. `bytes_read` has bytes by connection."""

    address: Address
    _: KW_ONLY
    count: int
    quiet_s: float = QUIET_S
    bytes_read: list[int] = field(default_factory=list, init=False)
    ended: int = field(default=0, init=False)
    _streams: list[socket.socket] = field(default_factory=list, init=False)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list, init=False)

    async def open(self) -> None:
        """Connect, and wait until every stream has begun. Raises OSError, or CommandError if a status is not 200."""
        loop = asyncio.get_running_loop()
        self.bytes_read = [0] * self.count
        async with asyncio.timeout(CONNECT_S):
            for number in range(self.count):
                stream = socket.socket(self.address.family, socket.SOCK_STREAM)
                self._streams.append(stream)
                stream.setblocking(False)
                await loop.sock_connect(stream, self.address.sockaddr)
                await loop.sock_sendall(stream, self.address.get("/orders/events"))
                status_line = (await loop.sock_recv(stream, len(BUFFER))).partition(b"\r\n")[0]
                if b" 200 " not in status_line:
                    raise CommandError(f"GET /orders/events: {status_line.decode('latin-1') or 'no answer'}")
                self._tasks.append(asyncio.create_task(self._read(number, stream)))

    async def read_rest(self) -> None:
        """Wait until no stream has sent anything for `quiet_s` seconds."""
        before: list[int] = []
        while before != self.bytes_read:
            before = [*self.bytes_read]
            await asyncio.sleep(self.quiet_s)

    async def close(self) -> None:
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
    """Runs clients that send header lines without end. `ended` counts how often the server disconnected a client."""

    address: Address
    _: KW_ONLY
    count: int
    interval_s: float = LINE_INTERVAL_S
    ended: int = field(default=0, init=False)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list, init=False)

    async def open(self) -> None:
        """Connect all clients within one interval. They send until `close`. Raises OSError if connecting fails."""
        for _ in range(self.count):
            self._tasks.append(asyncio.create_task(self._send_until_gone(*await self._connect())))
            # So that the clients do not all send at the same moment.
            await asyncio.sleep(self.interval_s / self.count)

    async def close(self) -> None:
        await cancel(self._tasks)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*self.address.sockaddr[:2])
        url = self.address.url
        writer.write(f"GET {url.path}/livez HTTP/1.1\r\nHost: {url.netloc}\r\n".encode())
        return reader, writer

    async def _send_until_gone(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send lines. When the server closes the connection, reconnect and continue. Return if connecting fails."""
        try:
            while True:
                # Only a read shows that the server has closed the connection.
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


@asynccontextmanager
async def child_process(*command: str) -> AsyncIterator[Process]:
    """Run a program while the block runs. Kill the program at the end of the block."""
    # In its own session, so that Ctrl-C reaches only this process, which then kills the program.
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        # This also closes the pipes.
        await process.communicate()


async def read_report(process: Process, kind: type[AnyReport], *, name: str) -> AnyReport:
    """Close the program's stdin, and decode the last line of its stdout. Raises CommandError if the line is invalid."""
    # Before Python 3.12, communicate() without input does not close stdin.
    out, errors = await process.communicate(b"")
    last = (out.splitlines() or [b""])[-1]
    try:
        return msgspec.json.decode(last, type=kind)
    except msgspec.DecodeError:
        text = (errors.splitlines() or [last])[-1].decode(errors="replace")
        raise CommandError(f"{name} ended with status {process.returncode}: {text}") from None


@asynccontextmanager
async def background_connections(
    kind: str, *, url: ServerUrl, count: int
) -> AsyncIterator[Callable[[], Awaitable[Report]]]:
    """Run clients in another process. Yield a function that ends the process and returns its Report."""
    command = (sys.executable, "-m", "load.bench.background_connections", kind, str(url), str(count))
    async with child_process(*command) as process:
        close = partial(read_report, process, Report, name=f"the {kind}")
        stdout = cast(asyncio.StreamReader, process.stdout)
        try:
            if await asyncio.wait_for(stdout.readline(), READY_S) != READY:
                await close()
        except TimeoutError:
            raise CommandError(f"the {kind} were not connected within {READY_S:g} s") from None
        yield close


if __name__ == "__main__":
    try:
        report = run_to_end(keep_connections(sys.argv[1], ServerUrl.parse(sys.argv[2]), int(sys.argv[3])))
    except (CommandError, OSError) as problem:
        sys.exit(str(problem))
    sys.stdout.buffer.write(msgspec.json.encode(report))
