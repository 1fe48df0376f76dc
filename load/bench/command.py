"""`python -m load.bench`: measures the server and says whether each figure is what it must be.

It is measured against a bare Tornado or against itself; with `--against FOLDER`, against the server in that folder: a
checkout of an earlier commit, say. With `--stored FILE`, which `python -m load.fill` makes, also with the many orders
of that file against few, on copies of it. `--only NAME` runs single trials.

What is compared runs in processes of its own on this machine and takes turns, so that what slows the machine slows
both. This runs on the main thread, each trial on an event loop of its own. The exit status is 0 if every figure is what
it must be, 1 if not, 2 for bad flags, 130 after Ctrl-C, which prints the rows that there are.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

from load.backlog import NoMetrics
from load.bench.bystanders import BystandersFailed
from load.bench.plans import (
    CHANGE,
    HOW_TO_STORE,
    PLANS,
    Against,
    Comparison,
    Launching,
    MissingFile,
    MissingProgram,
    choose_plans,
)
from load.bench.row import Row
from load.bench.sides import Ground
from load.bench.stored_sides import NotStored
from load.bench.trial import BacklogStuck, Launches, Trial
from load.bench.trials import CROWD
from load.bench.wrk import WRK, WrkFailed, children_cpu_ns, wrk_version
from load.cli.flags import CommandParser, named_file, seconds, sqlite_file, whole_number, writable_folder
from load.cli.outputs import BAD, GOOD, INTERRUPTED, MISUSED, Unwritable, check_files, write_json
from load.fill.feeder import FillFailed
from load.http.address import Unreachable, reach
from load.http.connection import NoResponse
from load.system.machine import TooFewFiles, allow_connections, describe_machine, new_folder, run_to_end
from load.system.server_process import DidNotEnd, DidNotStart, ServerProcess

FAILURES = (
    DidNotEnd,
    DidNotStart,
    TooFewFiles,
    Unreachable,
    BacklogStuck,
    BystandersFailed,
    NoResponse,
    NoMetrics,
    FillFailed,
    NotStored,
    MissingFile,
    MissingProgram,
    Unwritable,
    WrkFailed,
)
"""What ends the benchmark with one line on stderr."""


def main(argv: Sequence[str]) -> int:
    """Run every trial and give the exit status: 0 when every row is what it must be, 1 when not, 2 for bad flags."""
    flags = _parse(argv)
    try:
        check_files(flags.json)
        return _compare(flags)
    except FAILURES as problem:
        print(f"python -m load.bench: {problem}", file=sys.stderr)
        return MISUSED if isinstance(problem, MissingFile) else BAD
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED


def _compare(flags: argparse.Namespace) -> int:
    """Run every trial, tell its rows, and give the exit status; where one fails, those before it are told."""
    plans, left_out = ([CHANGE], []) if flags.against else choose_plans(flags.only, has_stored=bool(flags.stored))
    allow_connections(CROWD)
    machine = describe_machine(flags.folder) | _versions_of_programs(plans)
    rows: list[Row] = []
    is_whole = False
    try:
        for more in _measure(flags, plans, machine):
            rows += more
        is_whole = True
    finally:
        passed = is_whole and all(row.passed for row in rows)
        print()
        for line in (*(line for row in rows for line in row.lines), *left_out):
            print(line)
        if flags.json:
            against = "bare Tornado" if flags.against is None else str(flags.against)
            told = [row.to_json() for row in rows]
            write_json(flags.json, {"against": against, "machine": machine, "rows": told, "passed": passed})
    return GOOD if passed else BAD


def _measure(
    flags: argparse.Namespace, plans: Sequence[Comparison | Launching], machine: Mapping[str, str]
) -> Iterator[list[Row]]:
    """Run the trials one after another, each with a database of its own."""
    other = f"the server in {flags.against}" if flags.against else "a bare Tornado, or itself"
    print(f"server.py against {other}, in turns; for each side {flags.runs} of {flags.seconds:g} s")
    print("both sides: same Python, same event loop (uvloop where it is installed), same client")
    for name, value in machine.items():
        print(f"{name.replace('_', ' ')}: {value}")
    for plan in plans:
        print(f"\n{plan.title}", flush=True)
        with new_folder(flags.folder, prefix="load-bench-") as place:
            ground = Ground(place, stored=flags.stored if plan.needs_stored else None, checkout=flags.against)
            yield _run(plan, flags, ground)


def _run(plan: Comparison | Launching, flags: argparse.Namespace, ground: Ground) -> list[Row]:
    measures: dict[str, Any] = {
        "runs": flags.runs,
        "seconds": flags.seconds,
        "tell": _tell,
        "clock_ns": time.perf_counter_ns,
        "cpu_clock_ns": time.process_time_ns,
        "children_cpu_clock_ns": children_cpu_ns,
        "seeded": Random,
    }
    if isinstance(plan, Launching):
        return run_to_end(_launch(plan, ground, measures))
    if plan.against is Against.SMALL:
        ground.fill_other()
    with ExitStack() as stack:
        servers = [stack.enter_context(server) for server in ground.servers(plan)]
        return run_to_end(_try(plan, servers, measures))


def _versions_of_programs(plans: Sequence[Comparison | Launching]) -> dict[str, str]:
    return {WRK: wrk_version()} if any(plan.needs == WRK for plan in plans) else {}


async def _launch(plan: Launching, ground: Ground, measures: dict[str, Any]) -> list[Row]:
    return await plan.run(Launches(serve=ground.serve, **measures))


async def _try(plan: Comparison, servers: Sequence[ServerProcess], measures: dict[str, Any]) -> list[Row]:
    """Run a trial on the other side and ours, or on ours alone."""
    addresses = [await reach(server.url) for server in servers]
    return await plan.run(Trial(other=addresses[0], ours=addresses[-1], other_name=plan.against.value, **measures))


def _tell(line: str) -> None:
    print(line, flush=True)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser("load.bench", description=__doc__)
    parser.add_argument("--runs", type=whole_number(), default=5, help="turns for each side (%(default)s)")
    parser.add_argument("--seconds", type=seconds, default=4.0, help="length of a turn (%(default)g)")
    parser.add_argument(
        "--folder",
        type=writable_folder,
        default=Path(),
        help="where the databases are made: on a disk, not tmpfs (here)",
    )
    parser.add_argument(
        "--against", type=_checkout, metavar="FOLDER", help="measure against the server in this folder instead"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=tuple(PLANS),
        help="run this trial alone, or those that are named so; may be given again",
    )
    parser.add_argument(
        "--stored", type=_stored, metavar="FILE", help="measure also with the orders of this file, on copies of it"
    )
    parser.add_argument("--json", type=named_file, metavar="FILE", help="write the result to this file as well")
    flags = parser.parse_args(argv)
    if (flags.only or flags.stored) and flags.against:
        flag = "--only" if flags.only else "--stored"
        parser.error(f"{flag} and --against exclude each other: another checkout is compared in one trial")
    return flags


def _checkout(text: str) -> Path:
    if not (Path(text) / "server.py").is_file():
        raise argparse.ArgumentTypeError(f"there is no server.py in {text}")
    return Path(text).resolve()


def _stored(text: str) -> Path:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}: `{HOW_TO_STORE}` makes one")
    log = Path(f"{text}-wal")
    if log.exists() and log.stat().st_size:
        raise argparse.ArgumentTypeError(f"{text} has a log beside it: a server runs on it, or was killed")
    return sqlite_file(text).resolve()
