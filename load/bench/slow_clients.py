"""Runs another process during a measurement: wrk, or clients that send requests slowly. Runs on the event loop.

`python -m load.bench.slow_clients URL COUNT` connects COUNT clients that never end their request, and prints "ready".
When standard input is closed, the command disconnects the clients, and prints how many the server has disconnected.
"""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import TypeVar, cast

import msgspec

from load.cli.command import run_to_end
from load.cli.errors import CommandError
from load.http.address import Address, ServerUrl, reach
from load.system.server_process import ROOT

READY = b"ready\n"
LINE_INTERVAL_S = 1.0
READY_S = 30.0
Report = TypeVar("Report")


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
    clients = SlowClients(await reach(url), count=count)
    try:
        await clients.open()
        sys.stdout.buffer.write(READY)
        sys.stdout.buffer.flush()
        await asyncio.to_thread(sys.stdin.read)
        return clients.ended
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


async def read_report(process: Process, kind: type[Report], *, name: str) -> Report:
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
async def slow_clients(url: ServerUrl, *, count: int) -> AsyncIterator[Callable[[], Awaitable[int]]]:
    """Run clients in another process. Yield a function that ends it, and returns how many clients were disconnected."""
    async with child_process(sys.executable, "-m", "load.bench.slow_clients", str(url), str(count)) as process:
        close = partial(read_report, process, int, name="the slow clients")
        stdout = cast(asyncio.StreamReader, process.stdout)
        try:
            if await asyncio.wait_for(stdout.readline(), READY_S) != READY:
                await close()
        except TimeoutError:
            raise CommandError(f"the slow clients were not connected within {READY_S:g} s") from None
        yield close


if __name__ == "__main__":
    try:
        print(run_to_end(keep_connections(ServerUrl.parse(sys.argv[1]), int(sys.argv[2]))))
    except (CommandError, OSError) as problem:
        sys.exit(str(problem))
