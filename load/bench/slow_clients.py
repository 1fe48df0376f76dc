"""Runs clients that send requests slowly, in another process during a measurement. Runs on the event loop.

`python -m load.bench.slow_clients URL COUNT` connects COUNT clients that never end their request, and prints that they
are connected. After SIGTERM, the command disconnects them, and prints how many the server has disconnected.
"""

import asyncio
import re
import signal
import sys
import time
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

from load.cli.command import run_to_end
from load.cli.errors import CommandError
from load.http.address import Address, ServerUrl, reach
from load.system.server_process import ServerProcess

LINE_INTERVAL_S = 1.0
READY_S = 30.0
CONNECTED = re.compile(r"connected to (http://\S+)")


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
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*self.address.sockaddr[:2])
        # Without the blank line at its end.
        writer.write(self.address.get("/livez")[:-2])
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


async def keep_connections(url: ServerUrl, count: int) -> int:
    """Keep clients connected until SIGTERM. Return how many the server has disconnected."""
    clients, ended = SlowClients(await reach(url), count=count), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await clients.open()
    print(f"connected to {url}", flush=True)
    await ended.wait()
    await clients.close()
    return clients.ended


def slow_clients(url: ServerUrl, *, count: int, log: Path) -> ServerProcess:
    """Return the process that runs the clients, not started yet. Its output, also the last line, goes to `log`."""
    command = ("-m", "load.bench.slow_clients", str(url), str(count))
    return ServerProcess(command, log=log, clock_s=time.monotonic, start_s=READY_S, ready=CONNECTED)


if __name__ == "__main__":
    try:
        print(run_to_end(keep_connections(ServerUrl.parse(sys.argv[1]), int(sys.argv[2]))))
    except (CommandError, OSError) as problem:
        sys.exit(str(problem))
