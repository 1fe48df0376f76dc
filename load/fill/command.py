"""`python -m load.fill`: creates a database file with as many orders as you want, to measure with.

It starts a server on the file and sends it arrays of 1,000 orders. Their ids count from 1, and their other values
follow from the id, so that they are the same every time. All of them are Completed, except for the last --pending. At
the end there is no write-ahead log beside the file.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from load.backlog import Backlog, BacklogState
from load.cli.command import Command, ProgressBar
from load.cli.errors import CommandError, ExitStatus
from load.cli.flags import CommandParser, named_file, whole_number
from load.http.address import Address, reach
from load.http.connection import Response
from load.http.connections import ClosedLoop, RequestTiming, Timeouts
from load.orders.comparison import ACCEPTED, bulk_fault, reason_in
from load.orders.generated import GeneratedOrders
from load.orders.sources import requests_of
from load.system.event_loop import run_to_end
from load.system.server_process import ServerProcess

ARRAY_SIZE = 1000
CLIENTS = 2  # While one array is stored, the next is parsed; with more clients, orders are processed more slowly.
TIMEOUTS = Timeouts(answer_s=60.0, connection_s=5.0, processing_s=60.0, poll_s=0.02)
STOP_S = 300.0  # While it stops, the server copies the write-ahead log into the file.
MAX_BACKLOG = 1_000_000_000
HOLDING = ("--processor", "load.fill.hold:hold", "--drain-timeout", "0")
"""Flags of a server that leaves its orders Pending."""
MOST = 1_000_000_000
MEBIBYTE = 1 << 20


class FillFailed(CommandError):
    """The server did not take the orders, or does not process them; the text says what it did."""


class OrderFeeder:
    """Sends generated orders with the ids from `first_id` on; `taken` is how many of them the server has taken."""

    def __init__(self, address: Address, *, first_id: int, count: int, clock_ns: Callable[[], int]) -> None:
        self.taken = 0
        self._address = address
        self._orders = GeneratedOrders(first_id=first_id, count=count)
        self._clock_ns = clock_ns
        self._fault = ""

    async def send(self) -> None:
        """Send all orders, in arrays; FillFailed if one was not taken. One that was there before counts as taken."""
        requests = requests_of(self._orders, self._address, bulk=ARRAY_SIZE)
        with closing(ClosedLoop(self._address, count=CLIENTS, timeouts=TIMEOUTS, clock_ns=self._clock_ns)) as clients:
            jobs = (request for request in requests if not self._fault)
            await clients.work(jobs, answered=self._check, unanswered=lambda first, reason: self._note(reason))
        if self.taken < len(self._orders):
            raise FillFailed(f"POST /orders: {self._fault or 'the server went away'}")

    def _check(self, first: int, response: Response, timing: RequestTiming) -> None:
        orders = min(ARRAY_SIZE, len(self._orders) - first)
        if response.status != ACCEPTED:
            self._note(f"status {response.status} {reason_in(response)}".rstrip())
        elif fault := bulk_fault(response, size=orders, may_repeat=True):
            self._note(fault)
        else:
            self.taken += orders

    def _note(self, fault: str) -> None:
        self._fault = self._fault or fault


async def count_orders(address: Address) -> int:
    """Return how many orders the server has, in any status; NoResponse or NoMetrics if it does not say."""
    with closing(Backlog(address, timeouts=TIMEOUTS, clock_ns=time.perf_counter_ns)) as backlog:
        return (await backlog.poll()).orders


@dataclass(frozen=True, kw_only=True)
class FillJob:
    """Fills a database file with the orders 1 to `orders`, and leaves the last `pending` of them Pending."""

    database: Path
    orders: int
    pending: int = 0
    progress: ProgressBar

    def run(self) -> int:
        """Create the file, or continue an incomplete one, and return how many orders were added.

        CommandError if that fails. Afterwards no server runs, and the file has no write-ahead log beside it.
        """
        completed = self.orders - self.pending
        # Counted by a server that processes nothing, or it would complete what is to stay Pending.
        before = self._with_server(count_orders, *HOLDING) if self.database.exists() else 0
        if before > self.orders:
            raise FillFailed(f"{self.database} has {before:,} orders already, which are more than {self.orders:,}")
        if before <= completed:
            self._with_server(lambda address: self._feed(address, upto=completed, is_processed=True))
        if self.pending:
            self._with_server(lambda address: self._feed(address, upto=self.orders, is_processed=False), *HOLDING)
        return self.orders - before

    def _with_server(self, work: Callable[[Address], Coroutine[None, None, int]], *flags: str) -> int:
        command = ["server.py", "--port", "0", "--database", str(self.database.resolve())]
        command += ["--max-backlog", str(MAX_BACKLOG), *flags]
        with (
            TemporaryDirectory(prefix="load-fill-") as folder,
            ServerProcess(command, log=Path(folder) / "log", clock_s=time.monotonic, stop_s=STOP_S) as server,
        ):

            async def reach_and_work() -> int:
                return await work(await reach(server.url))

            return run_to_end(reach_and_work())

    async def _feed(self, address: Address, *, upto: int, is_processed: bool) -> int:
        """Send those of the orders 1 to `upto` that the server does not have yet; return how many it has then."""
        # If an earlier run was interrupted, its last arrays may be stored without the ones before them.
        first = max(0, await count_orders(address) - CLIENTS * ARRAY_SIZE)
        feeder = OrderFeeder(address, first_id=first + 1, count=upto - first, clock_ns=time.perf_counter_ns)
        phase = "Storing" if is_processed else "Storing as Pending"
        with self.progress.phase(phase, total=upto - first, done=lambda: feeder.taken):
            await feeder.send()
        if is_processed:
            await self._await_processing(address)
        if (count := await count_orders(address)) != upto:
            raise FillFailed(f"{self.database} has {count:,} orders, not {upto:,}: it was not begun by this program")
        return count

    async def _await_processing(self, address: Address) -> None:
        with (
            closing(Backlog(address, timeouts=TIMEOUTS, clock_ns=time.perf_counter_ns)) as backlog,
            self.progress.phase("Processing", total=self.orders, done=lambda: self.orders - backlog.left),
        ):
            if await backlog.wait(before=0) is not BacklogState.PROCESSED:
                raise FillFailed(f"{backlog.left} orders were not processed")


def main(argv: Sequence[str]) -> int:
    return Fill(_parse(argv)).execute()


class Fill(Command):
    """Creates the file and prints its size."""

    def __init__(self, flags: argparse.Namespace) -> None:
        super().__init__(prog="python -m load.fill")
        self._flags = flags

    def run(self) -> ExitStatus:
        flags = self._flags
        progress = ProgressBar(Console(stderr=True))
        job = FillJob(database=flags.database, orders=flags.orders, pending=flags.pending, progress=progress)
        started_s = time.monotonic()
        try:
            added = job.run()
        except (KeyboardInterrupt, asyncio.CancelledError):
            print(f"{flags.database} is not complete; --continue completes it", file=sys.stderr)
            raise
        took_s = time.monotonic() - started_s
        size_mib = flags.database.stat().st_size / MEBIBYTE
        print(
            f"{flags.database}: {flags.orders:,} orders, {flags.pending:,} of them Pending; {size_mib:,.0f} MiB,"
            f" in {took_s:,.1f} s, {added / took_s:,.0f} orders/s"
        )
        return ExitStatus.PASSED


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser("load.fill", description=__doc__)
    number, file = whole_number(MOST), "the file to create; it must not exist yet"
    parser.add_argument("--orders", type=number, required=True, help="how many orders the file has at the end")
    parser.add_argument("--database", type=named_file, required=True, metavar="FILE", help=file)
    parser.add_argument("--pending", type=number, default=0, metavar="N", help="leave the last N of them Pending")
    unfinished = "complete a FILE that an earlier run did not complete"
    parser.add_argument("--continue", dest="goes_on", action="store_true", help=unfinished)
    flags = parser.parse(argv)
    if flags.pending > flags.orders:
        parser.error("--pending must not be more than --orders")
    if flags.goes_on and not flags.database.exists():
        parser.error(f"--continue: there is no file {flags.database}")
    if flags.database.exists() and not flags.goes_on:
        parser.error(f"{flags.database} exists already; --continue completes it")
    return flags
