"""`python -m load.fill`: makes a database file with as many orders as wanted, to measure with.

A server is started on the file and fed with arrays of 1,000 orders. The orders are those with the ids from 1 on, whose
other values follow from the id, so that they are the same each time; all of them are Completed, but for the last
--pending. When it has ended the file stands alone, without a log beside it.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence

from rich.console import Console

from load.backlog import NoMetrics
from load.cli.flag_types import OneLineParser, named_file, whole_number
from load.cli.progress import ProgressBar
from load.fill.feeding import NotFed
from load.fill.filling import Filling
from load.http.address import Unreachable
from load.http.connection import NoAnswer
from load.system.server_process import DidNotEnd, DidNotStart

MOST = 1_000_000_000
MEBIBYTE = 1 << 20


def main(argv: Sequence[str]) -> int:
    """Make the file and give the exit status: 0 when it is made, 1 when not, 2 for bad flags, 130 after Ctrl-C."""
    flags = _parse(argv)
    filling = Filling(
        database=flags.database,
        orders=flags.orders,
        pending=flags.pending,
        progress=ProgressBar(Console(stderr=True)),
    )
    begun_s = time.monotonic()
    try:
        added = filling.run()
    except (NotFed, DidNotStart, DidNotEnd, Unreachable, NoAnswer, NoMetrics) as problem:
        print(f"python -m load.fill: {problem}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        print(f"{flags.database} is not complete: --continue goes on with it", file=sys.stderr)
        return 130
    took_s = time.monotonic() - begun_s
    size_mib = flags.database.stat().st_size / MEBIBYTE
    print(
        f"{flags.database}: {flags.orders:,} orders, {flags.pending:,} of them Pending; {size_mib:,.0f} MiB,"
        f" in {took_s:,.1f} s, {added / took_s:,.0f} orders/s"
    )
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = OneLineParser(prog="python -m load.fill", description=__doc__, allow_abbrev=False)
    parser.add_argument("--orders", type=whole_number(MOST), required=True, help="how many there are to be")
    parser.add_argument("--database", type=named_file, required=True, metavar="FILE", help="which is not there yet")
    parser.add_argument(
        "--pending", type=whole_number(MOST), default=0, metavar="N", help="leave the last N of them Pending"
    )
    parser.add_argument(
        "--continue", dest="goes_on", action="store_true", help="go on with a FILE that was begun and left off"
    )
    flags = parser.parse_args(argv)
    if flags.pending > flags.orders:
        parser.error(f"--pending: there are no {flags.pending} orders to be Pending")
    if flags.goes_on and not flags.database.exists():
        parser.error(f"there is no {flags.database} to go on with")
    if flags.database.exists() and not flags.goes_on:
        parser.error(f"{flags.database} is there already: --continue goes on with it")
    return flags
