"""`python -m load.bench`: measures the server and says whether each figure is what it must be.

It is measured against a bare Tornado or against itself; with `--against FOLDER`, against the server in that folder: a
checkout of an earlier commit, say. `--only NAME` runs single trials.

What is compared runs in processes of its own on this machine and takes turns, so that what slows the machine slows
both. This runs on the main thread, each trial on an event loop of its own.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import msgspec

from load.address import Unreachable, reach
from load.backlog import NoMetrics
from load.bench.bystanders import BystandersFailed
from load.bench.plans import CHANGE, PLANS, Against, MissingProgram, Plan, choose_plans
from load.bench.row import Row
from load.bench.trial import BacklogStuck, Trial
from load.bench.trials import CROWD
from load.bench.wrk import WRK, WrkFailed, children_cpu_ns, wrk_version
from load.connection import NoAnswer
from load.flag_types import OneLineParser, whole_number, writable_file
from load.machine import TooFewFiles, allow_connections, describe_machine, run_to_end
from load.server_process import DidNotStart, ServerProcess

REACH_S = 5.0
BARE = ["-m", "load.bench.bare", "--port", "0"]
FAILURES = (
    DidNotStart,
    TooFewFiles,
    Unreachable,
    BacklogStuck,
    BystandersFailed,
    NoAnswer,
    NoMetrics,
    MissingProgram,
    WrkFailed,
)
"""What ends the benchmark with one line on stderr."""


def main(argv: Sequence[str]) -> int:
    """Run every trial and give the exit status: 0 when every row is what it must be, 1 when not, 2 for bad flags."""
    flags = _parse(argv)
    try:
        allow_connections(CROWD)
        plans, left_out = ([CHANGE], []) if flags.against else choose_plans(flags.only)
        machine = describe_machine(flags.folder) | _versions_of_programs(plans)
        rows = _measure(flags, plans, machine)
    except FAILURES as problem:
        print(f"python -m load.bench: {problem}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    print()
    for line in (*(line for row in rows for line in row.lines), *left_out):
        print(line)
    passed = all(row.passed for row in rows)
    if flags.json:
        against = "bare Tornado" if flags.against is None else str(flags.against)
        report = {
            "against": against,
            "machine": machine,
            "rows": [row.to_json() for row in rows],
            "passed": passed,
        }
        flags.json.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    return 0 if passed else 1


def _measure(flags: argparse.Namespace, plans: Sequence[Plan], machine: Mapping[str, str]) -> list[Row]:
    """Run the trials one after another, each with a database of its own."""
    rows: list[Row] = []
    other = f"the server in {flags.against}" if flags.against else "a bare Tornado, or itself"
    print(f"server.py against {other}, in turns; for each side {flags.runs} of {flags.seconds} s")
    print("both sides: same Python, same event loop (uvloop where it is installed), same client")
    for name, value in machine.items():
        print(f"{name.replace('_', ' ')}: {value}")
    for plan in plans:
        print(f"\n{plan.title}", flush=True)
        with ExitStack() as stack:
            folder = Path(stack.enter_context(TemporaryDirectory(dir=flags.folder, prefix="load-bench-")))
            # A commit that is made meanwhile must not take the databases in.
            (folder / ".gitignore").write_text("*\n")
            ours = plan.instead or _server("", folder)
            commands = (_other(plan, flags, folder), "other.log"), (ours, "server.log")
            servers = [
                stack.enter_context(ServerProcess(command, log=folder / log, clock_s=time.monotonic))
                for command, log in commands
                if command
            ]
            rows += run_to_end(_try(plan, flags, servers))
    return rows


def _versions_of_programs(plans: Sequence[Plan]) -> dict[str, str]:
    return {WRK: wrk_version()} if any(plan.needs == WRK for plan in plans) else {}


def _other(plan: Plan, flags: argparse.Namespace, folder: Path) -> list[str]:
    """The command of the other side; none where there is no other."""
    if plan.against is Against.ITSELF:
        return []
    if plan.against is Against.BARE:
        return BARE
    (folder / "other").mkdir()
    return _server(flags.against or "", folder / "other")


def _server(checkout: str | Path, folder: Path) -> list[str]:
    """The server of a checkout, with its database in `folder`."""
    return [str(Path(checkout) / "server.py"), "--port", "0", "--database", str(folder / "orders.db")]


async def _try(plan: Plan, flags: argparse.Namespace, servers: Sequence[ServerProcess]) -> list[Row]:
    """Run a trial on the other side and ours, or on ours alone."""
    addresses = [await reach(server.url, timeout_s=REACH_S) for server in servers]
    return await plan.run(
        Trial(
            other=addresses[0],
            ours=addresses[-1],
            runs=flags.runs,
            seconds=flags.seconds,
            tell=_tell,
            clock_ns=time.perf_counter_ns,
            cpu_clock_ns=time.process_time_ns,
            children_cpu_clock_ns=children_cpu_ns,
            seeded=Random,
            other_name=plan.against.value,
        )
    )


def _tell(line: str) -> None:
    print(line, flush=True)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = OneLineParser(prog="python -m load.bench", description=__doc__, allow_abbrev=False)
    parser.add_argument("--runs", type=whole_number(), default=5, help="turns for each side (%(default)s)")
    parser.add_argument("--seconds", type=whole_number(), default=4, help="length of a turn (%(default)s)")
    parser.add_argument(
        "--folder", type=_folder, default=Path(), help="where the databases are made: on a disk, not tmpfs (here)"
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
    parser.add_argument("--json", type=writable_file, metavar="FILE", help="write the result to this file as well")
    flags = parser.parse_args(argv)
    if flags.only and flags.against:
        parser.error("--only and --against exclude each other: another checkout is compared in one trial")
    return flags


def _checkout(text: str) -> Path:
    if not (Path(text) / "server.py").is_file():
        raise argparse.ArgumentTypeError(f"there is no server.py in {text}")
    return Path(text).resolve()


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no folder")
    return Path(text)
