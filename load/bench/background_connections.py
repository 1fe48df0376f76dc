"""Runs another program beside a measurement: wrk, or clients in a process of their own. Runs on the event loop."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TypeVar, cast

import msgspec

from load.bench.background_clients import READY, Report
from load.cli.errors import CommandError
from load.http.address import ServerUrl
from load.system.server_process import ROOT

READY_S = 30.0
AnyReport = TypeVar("AnyReport")


class ProgramFailed(CommandError):
    """The program did not do what it should; the text says why, or has its last line."""


@asynccontextmanager
async def child_process(*command: str) -> AsyncIterator[Process]:
    """Run a program during the block, and kill it at the end."""
    # In a session of its own: Ctrl-C ends the measurement, and that ends this process.
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
    """Close the program's stdin and decode the last line that it prints; ProgramFailed if that is no report."""
    # Without input, communicate closes stdin only from Python 3.12 on.
    out, errors = await process.communicate(b"")
    last = (out.splitlines() or [b""])[-1]
    try:
        return msgspec.json.decode(last, type=kind)
    except msgspec.DecodeError:
        text = (errors.splitlines() or [last])[-1].decode(errors="replace")
        raise ProgramFailed(f"{name} ended with status {process.returncode}: {text}") from None


@asynccontextmanager
async def background_connections(
    kind: str, *, url: ServerUrl, count: int
) -> AsyncIterator[Callable[[], Awaitable[Report]]]:
    """Have a process with `count` connections of a kind; ProgramFailed if they can't be opened.

    The block gets a function that closes them and returns the report; ProgramFailed if the process had ended.
    """
    command = (sys.executable, "-m", "load.bench.background_clients", kind, str(url), str(count))
    async with child_process(*command) as process:
        close = partial(read_report, process, Report, name=f"the {kind}")
        stdout = cast(asyncio.StreamReader, process.stdout)
        try:
            if await asyncio.wait_for(stdout.readline(), READY_S) != READY:
                await close()
        except TimeoutError:
            raise ProgramFailed(f"the {kind} were not connected within {READY_S:g} s") from None
        yield close
