"""Runs background clients in a process of their own while something else is measured.

`background_connections` starts that process, on the event loop. The process is `python -m
load.bench.background_connections KIND URL COUNT`: it prints "ready" when all of its connections are open, keeps them
until its stdin ends, and then prints a Report as JSON.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from typing import cast

import msgspec

from load.bench.background_clients import EventReaders, NoEvents, SlowClients
from load.cli.errors import CommandError
from load.http.address import ServerUrl, Unreachable, reach
from load.system.machine import run_to_end
from load.system.server_process import ROOT

READERS = "readers"
SLOW_CLIENTS = "slow-clients"
READY_S = 30.0
READY = b"ready\n"


class BackgroundConnectionsFailed(CommandError):
    """The connections could not be opened or kept; the text says why."""


class Report(msgspec.Struct, kw_only=True):
    """How many connections the server ended, the CPU time that the process used, and the bytes that readers received.

    All are counted from "ready" on. `least_bytes` and `most_bytes` are of single readers.
    """

    ended: int
    cpu_s: float
    least_bytes: int
    most_bytes: int


class BackgroundConnections:
    """Connections of a kind that a process keeps open."""

    def __init__(self, kind: str, process: asyncio.subprocess.Process) -> None:
        self._kind = kind
        self._process = process

    async def wait_until_open(self) -> None:
        """Wait until all connections are open; else BackgroundConnectionsFailed."""
        stdout = cast(asyncio.StreamReader, self._process.stdout)
        try:
            if await asyncio.wait_for(stdout.readline(), READY_S) != READY:
                await self.stop()
        except TimeoutError:
            raise BackgroundConnectionsFailed(f"the {self._kind} were not connected within {READY_S:g} s") from None

    async def stop(self) -> Report:
        """Close the connections and return the report; BackgroundConnectionsFailed if the process failed."""
        # Closes its stdin, which it does without input only from Python 3.12 on.
        out, errors = await self._process.communicate(b"")
        try:
            return msgspec.json.decode(out, type=Report)
        except msgspec.DecodeError:
            last = (errors.decode(errors="replace").splitlines() or ["no error message"])[-1]
            raise BackgroundConnectionsFailed(f"the {self._kind} ended: {last}") from None


@contextlib.asynccontextmanager
async def background_connections(kind: str, *, url: ServerUrl, count: int) -> AsyncIterator[BackgroundConnections]:
    """Have `count` connections of a kind during the block; BackgroundConnectionsFailed if they can't be opened."""
    command = (sys.executable, "-m", "load.bench.background_connections", kind, str(url), str(count))
    pipe = asyncio.subprocess.PIPE
    # In a session of its own: Ctrl-C ends the measurement, and that ends this process.
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
    )
    try:
        connections = BackgroundConnections(kind, process)
        await connections.wait_until_open()
        yield connections
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        # This also closes the pipes.
        await process.communicate()


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
