"""`python -m load.fill`: creates a database file with many orders, for measurements.

It starts a server on the file and sends it arrays of 1,000 orders. The ids count from 1. All other values are computed
from the id, so the file has the same orders every time. All orders are Completed, except for the last N with `--pending
N`. At the end there is no write-ahead log beside the file.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from load.backlog import Backlog, BacklogState
from load.cli.command import Command, ProgressBar
from load.cli.errors import CommandError, ExitStatus
from load.cli.flags import CommandParser, named_file, whole_number
from load.http.address import Address, reach
from load.http.connection import Response
from load.http.connections import ClosedLoop, RequestTiming, Timeouts
from load.orders.generated import GeneratedOrders
from load.orders.responses import ACCEPTED, check_many, reason_in
from load.orders.sources import requests_of
from load.system.event_loop import run_to_end
from load.system.server_process import ServerProcess

ARRAY_SIZE = 1000
CLIENTS = 2  # So that the server parses an array while it stores another. More clients would slow processing down.
TIMEOUTS = Timeouts(answer_s=60.0, connection_s=5.0, processing_s=60.0, poll_s=0.02)
STOP_S = 300.0  # While stopping, the server copies the write-ahead log into the file.
MAX_BACKLOG = 1_000_000_000
HOLDING = ("--processor", "load.fill.hold:hold", "--drain-timeout", "0")  # Flags that leave all orders Pending.
MOST = 1_000_000_000
MEBIBYTE = 1 << 20


class OrderFeeder:
    """Sends `count` generated orders with ids from `first_id` on. `taken` counts the accepted orders."""

    def __init__(self, address: Address, *, first_id: int, count: int, clock_ns: Callable[[], int]) -> None:
        self.taken = 0
        self._address = address
        self._orders = GeneratedOrders(first_id=first_id, count=count)
        self._clock_ns = clock_ns
        self._fault = ""

    async def send(self) -> None:
        """Send all orders in arrays. Duplicates count as accepted. Raises CommandError if an order is not accepted."""
        requests = requests_of(self._orders, self._address, bulk=ARRAY_SIZE)
        with closing(ClosedLoop(self._address, count=CLIENTS, timeouts=TIMEOUTS, clock_ns=self._clock_ns)) as clients:
            jobs = (request for request in requests if not self._fault)
            await clients.work(jobs, answered=self._check, unanswered=lambda first, reason: self._note(reason))
        if self.taken < len(self._orders):
            raise CommandError(f"POST /orders: {self._fault or 'the server stopped responding'}")

    def _check(self, first: int, response: Response, timing: RequestTiming) -> None:
        orders = min(ARRAY_SIZE, len(self._orders) - first)
        if response.status != ACCEPTED:
            self._note(f"status {response.status} {reason_in(response)}".rstrip())
        elif fault := check_many(response, new=orders, may_repeat=True):
            self._note(fault)
        else:
            self.taken += orders

    def _note(self, fault: str) -> None:
        self._fault = self._fault or fault


async def count_orders(address: Address) -> int:
    """Return how many orders the server has, in any status. Raises NoResponse or NoMetrics."""
    with closing(Backlog(address, timeouts=TIMEOUTS, clock_ns=time.perf_counter_ns)) as backlog:
        return (await backlog.poll()).orders


@dataclass(frozen=True, kw_only=True)
class FillJob:
    """Fills a database file with the orders 1 to `orders`, and leaves the last `pending` of them Pending."""

    database: Path
    orders: int
    pending: int = 0
    progress: ProgressBar = field(default_factory=ProgressBar)

    def run(self) -> int:
        """Create the file, or add the missing orders to an incomplete file. Return how many orders were added.

        Raises CommandError if the file can't get these orders. Afterwards, no server runs, and no write-ahead log is
        left.
        """
        completed = self.orders - self.pending
        # A server that processes nothing counts the orders, so that Pending orders stay Pending.
        before = self._with_server(count_orders, *HOLDING) if self.database.exists() else 0
        if before > self.orders:
            raise CommandError(f"{self.database} already has {before:,} orders, more than {self.orders:,}")
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
        """Send all orders up to the id `upto` that the server lacks. Return how many orders the server then has."""
        # Sends the last arrays again: an interrupted run can have stored an array, but not the one before it.
        first = max(0, await count_orders(address) - CLIENTS * ARRAY_SIZE)
        feeder = OrderFeeder(address, first_id=first + 1, count=upto - first, clock_ns=time.perf_counter_ns)
        phase = "Storing" if is_processed else "Storing as Pending"
        with self.progress.phase(phase, total=upto - first, done=lambda: feeder.taken):
            await feeder.send()
        if is_processed:
            await self._await_processing(address)
        if (count := await count_orders(address)) != upto:
            fault = f"{count:,} orders, not {upto:,}: load.fill did not create this file"
            raise CommandError(f"{self.database} has {fault}")
        return count

    async def _await_processing(self, address: Address) -> None:
        with (
            closing(Backlog(address, timeouts=TIMEOUTS, clock_ns=time.perf_counter_ns)) as backlog,
            self.progress.phase("Processing", total=self.orders, done=lambda: self.orders - backlog.left),
        ):
            if await backlog.wait(before=0) is not BacklogState.PROCESSED:
                raise CommandError(f"{backlog.left} orders were not processed")


def main(argv: Sequence[str]) -> int:
    return Fill(_parse(argv)).execute()


class Fill(Command):
    """The command `python -m load.fill`."""

    def __init__(self, flags: argparse.Namespace) -> None:
        super().__init__(prog="python -m load.fill")
        self._flags = flags

    def run(self) -> ExitStatus:
        flags = self._flags
        job = FillJob(database=flags.database, orders=flags.orders, pending=flags.pending)
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
    number, file = whole_number(MOST), "the file to create; it must not exist, except with --continue"
    parser.add_argument("--orders", type=number, required=True, help="how many orders the file has at the end")
    parser.add_argument("--database", type=named_file, required=True, metavar="FILE", help=file)
    parser.add_argument("--pending", type=number, default=0, metavar="N", help="leave the last N orders Pending")
    unfinished = "complete a FILE that an earlier run left incomplete"
    parser.add_argument("--continue", dest="goes_on", action="store_true", help=unfinished)
    flags = parser.parse(argv)
    if flags.pending > flags.orders:
        parser.error("--pending must not be more than --orders")
    if flags.goes_on and not flags.database.exists():
        parser.error(f"--continue: there is no file {flags.database}")
    if flags.database.exists() and not flags.goes_on:
        parser.error(f"{flags.database} exists already; --continue completes it")
    return flags
