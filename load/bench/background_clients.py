"""Runs clients that stay connected during a measurement, in another process. Runs on the event loop.

`python -m load.bench.background_clients KIND URL COUNT` connects COUNT clients, and prints that they are connected.
KIND is "readers" (they read all events) or "slow-clients" (they never end their request). After SIGTERM, the command
disconnects the clients, and prints their counts.
"""

import asyncio
import re
import signal
import sys
from asyncio import StreamReader, StreamWriter
from contextlib import closing, suppress
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

from load.cli.command import run_to_end
from load.cli.errors import CommandError
from load.http.address import Address, ServerUrl, reach
from load.system.server_process import ServerProcess

READERS, SLOW_CLIENTS = "readers", "slow-clients"
LINE_INTERVAL_S = 1.0
QUIET_S = 0.5
READ_BYTES = 1 << 20
READY_S = 30.0
CONNECTED = re.compile(r"connected to (http://\S+)")


@dataclass
class BackgroundClients:
    """Keeps `count` clients connected until `close`. `ended` counts how often the server disconnected a client."""

    address: Address
    _: KW_ONLY
    count: int
    ended: int = field(default=0, init=False)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list, init=False)

    async def finish(self) -> list[int]:
        """Disconnect all clients, and return their counts."""
        await self.close()
        return [self.ended]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connect(self, request: bytes) -> tuple[StreamReader, StreamWriter]:
        reader, writer = await asyncio.open_connection(*self.address.sockaddr[:2])
        writer.write(request)
        return reader, writer


@dataclass
class EventReaders(BackgroundClients):
    """Reads events on `count` connections. `bytes_read` has the number of bytes of each connection, without heads."""

    quiet_s: float = QUIET_S
    bytes_read: list[int] = field(default_factory=list, init=False)

    async def open(self) -> None:
        """Connect, and wait until every stream has begun. Raises OSError, or CommandError if a status is not 200."""
        self.bytes_read = [0] * self.count
        for number in range(self.count):
            reader, writer = await self._connect(self.address.get("/orders/events"))
            status_line = await reader.readline()
            if b" 200 " not in status_line:
                writer.close()
                raise CommandError(f"GET /orders/events: {status_line.decode('latin-1').strip() or 'no answer'}")
            self._tasks.append(asyncio.create_task(self._read(number, reader, writer)))

    async def finish(self) -> list[int]:
        """Wait until no stream has sent anything for `quiet_s`. Return `ended`, the fewest and the most bytes."""
        before: list[int] = []
        while before != self.bytes_read:
            before = [*self.bytes_read]
            await asyncio.sleep(self.quiet_s)
        return [*await super().finish(), min(self.bytes_read), max(self.bytes_read)]

    async def _read(self, number: int, reader: StreamReader, writer: StreamWriter) -> None:
        with suppress(OSError, EOFError), closing(writer):
            await reader.readuntil(b"\r\n\r\n")
            while received := await reader.read(READ_BYTES):
                self.bytes_read[number] += len(received)
        self.ended += 1


@dataclass
class SlowClients(BackgroundClients):
    """Runs clients that send header lines without end."""

    interval_s: float = LINE_INTERVAL_S

    async def open(self) -> None:
        """Connect all clients within one interval. Clients send until `close`. Raises OSError if connecting fails."""
        for _ in range(self.count):
            self._tasks.append(asyncio.create_task(self._send_until_gone(*await self._begin_request())))
            # The pause distributes the clients over the interval.
            await asyncio.sleep(self.interval_s / self.count)

    async def _begin_request(self) -> tuple[StreamReader, StreamWriter]:
        # Leaves out the blank line at the end of the head.
        return await self._connect(self.address.get("/livez")[:-2])

    async def _send_until_gone(self, reader: StreamReader, writer: StreamWriter) -> None:
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
                reader, writer = await self._begin_request()
        except OSError:
            return
        finally:
            writer.close()


async def keep_connections(kind: str, url: ServerUrl, count: int) -> list[int]:
    """Keep clients connected until SIGTERM. Return their counts."""
    address, ended = await reach(url), asyncio.Event()
    clients = EventReaders(address, count=count) if kind == READERS else SlowClients(address, count=count)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await clients.open()
    print(f"connected to {url}", flush=True)
    await ended.wait()
    return await clients.finish()


def background_clients(kind: str, url: ServerUrl, *, count: int, log: Path) -> ServerProcess:
    """Return the process that runs the clients, not started yet. Its output, also the last line, goes to `log`."""
    command = ("-m", "load.bench.background_clients", kind, str(url), str(count))
    return ServerProcess(command, log=log, start_s=READY_S, ready=CONNECTED)


if __name__ == "__main__":
    try:
        print(*run_to_end(keep_connections(sys.argv[1], ServerUrl.parse(sys.argv[2]), int(sys.argv[3]))))
    except (CommandError, OSError) as problem:
        sys.exit(str(problem))
