"""`python -m load.fill`: creates a database file with as many orders as you want, to measure with.

It starts a server on the file and sends it arrays of 1,000 orders. Their ids count from 1, and their other values
follow from the id, so that they are the same every time. All of them are Completed, except for the last --pending. At
the end the file stands alone, without a write-ahead log beside it.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence

from rich.console import Console

from load.cli.command import Command
from load.cli.errors import ExitStatus
from load.cli.flags import CommandParser, named_file, whole_number
from load.cli.progress import ProgressBar
from load.fill.fill_job import FillJob

MOST = 1_000_000_000
MEBIBYTE = 1 << 20


def main(argv: Sequence[str]) -> int:
    """Create the file and return the exit status."""
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
            print(f"{flags.database} is not complete: --continue goes on with it", file=sys.stderr)
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
    unfinished = "go on with a FILE that an earlier run did not complete"
    parser.add_argument("--continue", dest="goes_on", action="store_true", help=unfinished)
    flags = parser.parse(argv)
    if flags.pending > flags.orders:
        parser.error(f"--pending: there are no {flags.pending} orders to be Pending")
    if flags.goes_on and not flags.database.exists():
        parser.error(f"there is no {flags.database} to go on with")
    if flags.database.exists() and not flags.goes_on:
        parser.error(f"{flags.database} is there already: --continue goes on with it")
    return flags
