"""`python -m load.soak`: loads a server of its own for minutes or hours, and says whether it is as well at the end.

It is loaded as a shop's day in a nutshell: orders at a steady rate, arrays of them, people who look at orders, list
them and wait for them, readers of events who come and go or are slow, scrapers, mistakes, connections that are opened
and closed all the time. First the server's log of events is filled. After a warm-up that is as long as a minute it
prints a row for each minute; then it counts all orders, reads a random thousand of them back, and compares the last
minute with the first. For Linux.

The measuring is on the main thread, on one event loop. The exit status is 0 if all is as it must be, 1 if not, 2 for
bad flags, 130 after Ctrl-C, which prints what there is.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from load.backlog import NoMetrics
from load.cli.flags import CommandParser, named_file, rate, whole_number, writable_folder
from load.cli.outputs import BAD, GOOD, INTERRUPTED, Unwritable, check_files, write_json
from load.http.address import Unreachable
from load.http.connection import NoResponse
from load.soak.crowd import CLIENTS
from load.soak.day import ServerGone
from load.soak.disk import DiskFailed
from load.soak.minute import HEADER, Minute
from load.soak.soak import MINUTE_S, Soak, split
from load.soak.verdict import find_slowness_beside
from load.system.machine import TooFewFiles, allow_connections, describe_machine
from load.system.process_status import ProcessGone
from load.system.server_process import DidNotStart

LONGEST_MINUTES = 7 * 24 * 60
SHOWN = 10
"""Reasons for which answers were wrong, and lines of the server's log."""
FAILURES = (DidNotStart, TooFewFiles, Unreachable, ServerGone, ProcessGone, DiskFailed, NoResponse, NoMetrics)
"""What ends the soak with one line on stderr."""


def main(argv: Sequence[str]) -> int:
    """Run the soak and give the exit status."""
    flags = _parse(argv)
    soak = Soak(minutes=flags.minutes, rate=flags.rate, seed=flags.seed, folder=flags.folder, tell=_tell)
    try:
        check_files(flags.json)
        return _run(soak, flags)
    except Unwritable as problem:
        print(f"python -m load.soak: {problem}", file=sys.stderr)
        return BAD


def _run(soak: Soak, flags: argparse.Namespace) -> int:
    """Run the soak, tell what is found, and give the exit status."""
    status = BAD
    try:
        allow_connections(CLIENTS)
        _print_head(flags)
        soak.run()
        status = GOOD if soak.passed else BAD
    except FAILURES as problem:
        print(f"python -m load.soak: {problem}", file=sys.stderr)
    except (KeyboardInterrupt, asyncio.CancelledError):
        status = INTERRUPTED
    finally:
        # After a fault of this program, too.
        _print_findings(soak)
        if flags.json:
            write_json(flags.json, soak.to_json())
    return status


def _print_head(flags: argparse.Namespace) -> None:
    parts, part_s = split(flags.minutes)
    minute = "a minute" if part_s == MINUTE_S else f"{part_s:g} s"
    print(f"{flags.rate:g} orders/s and {CLIENTS} connections at most; {parts} times {minute} after a warm-up as long")
    for name, value in describe_machine(flags.folder).items():
        print(f"{name.replace('_', ' ')}: {value}")
    print(f"\n{HEADER}", flush=True)


def _print_findings(soak: Soak) -> None:
    for line in soak.complaints[:SHOWN]:
        print(f"server: {line}", file=sys.stderr)
    print()
    if soak.day:
        for reason, times in soak.day.errors.most_common(SHOWN):
            print(f"wrong or missing: {reason}, {times} times")
    if soak.closing:
        print(soak.closing.read_back)
        print(f"{soak.closing.counted:,} orders counted in the listing")
    for finding in soak.findings:
        print(finding.line)
    for line in find_slowness_beside(soak.day.minutes) if soak.day else []:
        print(line)
    if soak.closing is None:
        print("broken off: the orders were not counted")


def _tell(minute: Minute) -> None:
    print(minute.line, flush=True)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser("load.soak", description=__doc__)
    parser.add_argument("--minutes", type=_minutes, default=10.0, help="how long, after the warm-up (10)")
    parser.add_argument("--rate", type=rate(100_000), default=500, help="orders a second, one by one (%(default)s)")
    parser.add_argument("--seed", type=whole_number(), default=1, help="of everything that is random (%(default)s)")
    parser.add_argument(
        "--folder", type=writable_folder, default=Path(), help="where the database is made: on a disk, not tmpfs (here)"
    )
    parser.add_argument("--json", type=named_file, metavar="FILE", help="write the result to this file as well")
    return parser.parse_args(argv)


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes <= LONGEST_MINUTES:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of minutes up to {LONGEST_MINUTES}")
    return minutes
