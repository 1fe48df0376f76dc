"""`python -m load.fill`: creates a database with many orders, for measurements.

The command starts a server on a new file or an empty PostgreSQL database, and sends it arrays of 1,000 orders. The ids
count from 1. All other values are computed from the id, so the database has the same orders every time. At the end, all
orders are Completed, no server runs, and there is no write-ahead log beside the file.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from load.cli.command import Command, ProgressBar, run_to_end
from load.cli.errors import CommandError, ExitStatus
from load.cli.flags import POSTGRESQL, CommandParser, named_file, postgresql_url, whole_number
from load.http.address import Address, ServerUrl, reach
from load.http.connection import Response
from load.http.connections import Connections, RequestTiming, Timeouts
from load.orders.comparison import ACCEPTED, check_many, reason_in
from load.orders.generated import GeneratedOrders
from load.orders.sources import requests_of
from load.readback.backlog import Backlog, BacklogState
from load.readback.metrics import read_metrics
from load.system.server_process import ServerProcess

ARRAY_SIZE = 1000
CLIENTS = 2  # Two, because the server can parse an array while it stores another. More clients would slow it down.
TIMEOUTS = Timeouts(answer_s=60.0, connection_s=5.0, processing_s=60.0, poll_s=0.02)
STOP_S = 300.0  # While stopping, the server copies the write-ahead log into the file.
MAX_BACKLOG = 1_000_000_000
HOLDING = ("--processor", "load.fill.processors:hold", "--drain-timeout", "0")  # Flags that leave all orders Pending.
MOST = 1_000_000_000
MEBIBYTE = 1 << 20


class OrderFeeder:
    """Sends `count` generated orders with ids from `first_id` on. `taken` counts the accepted orders."""

    def __init__(self, address: Address, *, first_id: int, count: int) -> None:
        self.taken = 0
        self._address = address
        self._orders = GeneratedOrders(first_id=first_id, count=count)
        self._fault = ""

    async def send(self) -> None:
        """Send all orders in arrays. Raises CommandError if an order is not accepted."""
        requests = requests_of(self._orders, self._address, bulk=ARRAY_SIZE)
        with closing(Connections(self._address, count=CLIENTS, timeouts=TIMEOUTS)) as clients:
            jobs = (request for request in requests if not self._fault)
            await clients.work(jobs, answered=self._check, unanswered=lambda first, reason: self._note(reason))
        if self.taken < len(self._orders):
            raise CommandError(f"POST /orders: {self._fault or 'the server stopped responding'}")

    def _check(self, first: int, response: Response, timing: RequestTiming) -> None:
        orders = min(ARRAY_SIZE, len(self._orders) - first)
        if response.status != ACCEPTED:
            self._note(f"status {response.status} {reason_in(response)}".rstrip())
        elif fault := check_many(response, new=orders):
            self._note(fault)
        else:
            self.taken += orders

    def _note(self, fault: str) -> None:
        self._fault = self._fault or fault


async def _feed(url: ServerUrl, orders: int) -> None:
    """Send the orders 1 to `orders`, and wait until they are processed. Raises CommandError if that fails."""
    address, progress = await reach(url), ProgressBar()
    if stored := (await read_metrics(address)).orders:
        raise CommandError(f"the database has {stored:,} orders already")
    feeder = OrderFeeder(address, first_id=1, count=orders)
    with progress.phase("Storing", total=orders, done=lambda: feeder.taken):
        await feeder.send()
    with (
        closing(Backlog(address, timeouts=TIMEOUTS)) as backlog,
        progress.phase("Processing", total=orders, done=lambda: orders - backlog.left),
    ):
        if await backlog.wait(before=0) is not BacklogState.PROCESSED:
            raise CommandError(f"{backlog.left} orders were not processed")


def fill(database: Path | str, orders: int) -> None:
    """Store the orders 1 to `orders` in a new file, or in the empty PostgreSQL database with this URL.

    Raises CommandError if that fails.
    """
    name = str(database.resolve()) if isinstance(database, Path) else database
    command = ["server.py", "--port", "0", "--database", name, "--max-backlog", str(MAX_BACKLOG)]
    with (
        TemporaryDirectory(prefix="load-fill-") as folder,
        ServerProcess(command, log=Path(folder) / "log", stop_s=STOP_S) as server,
    ):
        run_to_end(_feed(server.url, orders))


def main(argv: Sequence[str]) -> int:
    return Fill(_parse(argv)).execute()


class Fill(Command):
    """The command `python -m load.fill`."""

    def __init__(self, flags: argparse.Namespace) -> None:
        super().__init__(prog="python -m load.fill")
        self._flags = flags

    def run(self) -> ExitStatus:
        database, orders = self._flags.database, self._flags.orders
        started_s = time.monotonic()
        try:
            fill(database, orders)
        except (KeyboardInterrupt, asyncio.CancelledError):
            print(f"{database} is not complete", file=sys.stderr)
            raise
        took_s = time.monotonic() - started_s
        size = f"{database.stat().st_size / MEBIBYTE:,.0f} MiB, " if isinstance(database, Path) else ""
        print(f"{database}: {orders:,} orders, {size}in {took_s:,.1f} s, {orders / took_s:,.0f} orders/s")
        return ExitStatus.PASSED


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser("load.fill", description=__doc__)
    parser.add_argument("--orders", type=whole_number(MOST), required=True, help="how many orders the database has")
    names = "the file to create, which must not exist, or postgresql://USER@HOST/NAME of an empty database"
    parser.add_argument("--database", type=_file_or_url, required=True, metavar="FILE|URL", help=names)
    flags = parser.parse(argv)
    if isinstance(flags.database, Path) and flags.database.exists():
        parser.error(f"{flags.database} exists already")
    return flags


def _file_or_url(text: str) -> Path | str:
    return postgresql_url(text) if text.startswith(POSTGRESQL) else named_file(text)
