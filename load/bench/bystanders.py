"""Owns connections that are there beside those that are measured, in a process of their own, and both its ends.

`python -m load.bench.bystanders KIND URL COUNT` says "ready" on stdout when all of its connections stand, keeps them
until its stdin ends, and then writes a Report as JSON. The other end is `Bystanders`, on the event loop's thread.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self, cast

import msgspec
from tornado.iostream import StreamClosedError

from load.bench.loris import LINE_INTERVAL_S, SlowLoris
from load.bench.readers import EventReaders, NoEvents
from load.http.address import Address, ServerUrl, Unreachable, reach
from load.system.machine import run_to_end
from load.system.server_process import ROOT

READERS = "readers"
SLOW_CLIENTS = "slow-clients"
READY_S = 30.0
GROUPS = 20
READY = b"ready\n"


class BystandersFailed(Exception):
    """The connections could not be made or kept; the text says why."""


class Report(msgspec.Struct, kw_only=True):
    """How many times the server ended a connection, what came, and what CPU time that cost from "ready" on.

    `least_bytes` and `most_bytes` are of single readers.
    """

    ended: int
    cpu_s: float
    least_bytes: int = 0
    most_bytes: int = 0


class Bystanders:
    """An async context manager: inside it `count` connections of a kind stand, or BystandersFailed says why not."""

    def __init__(self, kind: str, *, url: ServerUrl, count: int) -> None:
        self._arguments = (kind, str(url), str(count))

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "load.bench.bystanders",
            *self._arguments,
            cwd=ROOT,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            # Ctrl-C ends the measurement, which ends this one.
            start_new_session=True,
        )
        try:
            stdout = cast(asyncio.StreamReader, self._process.stdout)
            if await asyncio.wait_for(stdout.readline(), READY_S) != READY:
                raise await self._failure()
        except TimeoutError:
            await self._kill()
            raise BystandersFailed(f"the {self._arguments[0]} were not there within {READY_S:g} s") from None
        except BaseException:
            await self._kill()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._kill()

    async def leave(self) -> Report:
        """Have them close their connections and say how it was; BystandersFailed where they ended before."""
        cast(asyncio.StreamWriter, self._process.stdin).close()
        text = await cast(asyncio.StreamReader, self._process.stdout).read()
        try:
            return msgspec.json.decode(text, type=Report)
        except msgspec.DecodeError:
            raise await self._failure() from None

    async def _failure(self) -> BystandersFailed:
        errors = await cast(asyncio.StreamReader, self._process.stderr).read()
        last = errors.decode(errors="replace").splitlines()[-1:]
        return BystandersFailed(f"the {self._arguments[0]} ended: {''.join(last) or 'without a word'}")

    async def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        # Reads what is left, too, so that nothing is open afterwards.
        await self._process.communicate()


async def read_events(address: Address, count: int) -> Report:
    """Have readers of all events until stdin ends."""
    readers = EventReaders(address, count=count)
    try:
        readers.open()
        begun_ns = _say_ready()
        # Nothing else runs on this loop, so that it may be held up.
        readers.read_until_readable(sys.stdin)
    finally:
        readers.close()
    return Report(
        ended=readers.ended,
        cpu_s=(time.process_time_ns() - begun_ns) / 1e9,
        least_bytes=min(readers.bytes_read),
        most_bytes=max(readers.bytes_read),
    )


async def drip(address: Address, count: int) -> Report:
    """Have slow clients until stdin ends."""
    ends = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, ends.set)
    groups = [
        SlowLoris(address, count=count * (number + 1) // GROUPS - count * number // GROUPS) for number in range(GROUPS)
    ]
    try:
        # Group after group: real ones don't send their lines at the same moment either.
        for group in groups:
            await group.open()
            await _wait(ends, LINE_INTERVAL_S / GROUPS)
        begun_ns = _say_ready()
        await ends.wait()
        cpu_s = (time.process_time_ns() - begun_ns) / 1e9
    finally:
        asyncio.get_running_loop().remove_reader(sys.stdin)
        for group in groups:
            await group.close()
    return Report(ended=sum(group.cut_off for group in groups), cpu_s=cpu_s)


def main(argv: Sequence[str]) -> int:
    """Keep connections until stdin ends; 1 where that was not possible, with the reason as the last line on stderr."""
    kind, url, count = argv
    try:
        report = run_to_end(_keep(KINDS[kind], ServerUrl.parse(url), int(count)))
    except (Unreachable, NoEvents, StreamClosedError, OSError) as problem:
        print(problem, file=sys.stderr)
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(report))
    return 0


async def _keep(kind: Callable[[Address, int], Awaitable[Report]], url: ServerUrl, count: int) -> Report:
    return await kind(await reach(url), count)


async def _wait(event: asyncio.Event, limit_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), limit_s)


def _say_ready() -> int:
    """Give the CPU time at which it was said, in nanoseconds."""
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    return time.process_time_ns()


KINDS = {READERS: read_events, SLOW_CLIENTS: drip}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
