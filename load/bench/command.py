"""`python -m load.bench`: measures the server and checks that each figure is within its bound.

The server is compared with a bare Tornado or with itself. With `--against FOLDER`, it is compared with the server in
that folder, for example a checkout of an earlier commit. `--stored FILE` adds trials that compare a server on a copy of
the file with a server that has few orders. `python -m load.fill` creates a file with many orders. With `--database
URL`, a server on PostgreSQL is compared with a server on SQLite. `--only NAME` runs one trial.

Each server is a process on this machine. The servers are measured in turns, so that a slow phase of the machine affects
all of them. After Ctrl-C, the rows so far are printed. The exit status is 0 if every figure is within its bound, 1 if
not, 2 for bad flags, and 130 after Ctrl-C.
"""

import argparse
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from itertools import count
from pathlib import Path
from shutil import which

from load.bench.measurement import Meter
from load.bench.plans import CHANGE, HOW_TO_STORE, PLANS, Plan, choose_plans
from load.bench.trial import Row, Server, Trial
from load.bench.trials.postgresql import new_schema
from load.bench.workloads import (
    AT_ONCE,
    GUARDED,
    KEY,
    TrialServers,
)
from load.bench.wrk import WRK, wrk_version
from load.cli.command import Command, Output, json_outputs, print_line, run_to_end
from load.cli.errors import ExitStatus
from load.cli.flags import CommandParser, postgresql_url, seconds, whole_number
from load.http.address import reach
from load.system.machine import allow_connections, describe_machine, new_folder

SQLITE_HEAD = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat.html#magic_header_string


def main(argv: Sequence[str]) -> int:
    return Benchmark(_parse(argv)).execute()


class Benchmark(Command):
    """The command `python -m load.bench`. Each trial has its own databases."""

    def __init__(self, flags: argparse.Namespace) -> None:
        super().__init__(prog="python -m load.bench")
        self._flags = flags
        self._machine: dict[str, str] = {}
        self._rows: list[Row] = []
        self._left_out: list[str] = []
        self._is_complete = False

    def run(self) -> ExitStatus:
        flags, plans = self._flags, [CHANGE]
        if not flags.against:
            plans, self._left_out = choose_plans(
                flags.only, has_stored=bool(flags.stored), has_database=bool(flags.database)
            )
        if any(plan.needs_database for plan in plans):
            # If the database does not allow it, fail here, and not after minutes of other trials.
            with new_schema(flags.database):
                pass
        allow_connections(AT_ONCE)
        programs = {WRK: wrk_version()} if which(WRK) else {}
        self._machine = describe_machine(flags.folder) | programs
        self._print_head()
        for plan in plans:
            print_line(f"\n{plan.title}")
            with (
                new_folder(flags.folder, prefix="load-bench-", is_wanted=lambda: False) as folder,
                new_schema(flags.database) if plan.needs_database else nullcontext("") as database,
            ):
                stored = flags.stored if plan.needs_stored else None
                servers = TrialServers(folder, stored=stored, checkout=flags.against, database=database)
                self._rows += run_plan(plan, servers, runs=flags.runs, seconds=flags.seconds)
        self._is_complete = True
        return ExitStatus.PASSED if self._passed else ExitStatus.FAILED

    def outputs(self) -> Sequence[Output]:
        if not self._machine:
            return []
        return [Output("the result", self._print_rows), *json_outputs(self._flags.json, self._to_json)]

    @property
    def _passed(self) -> bool:
        return self._is_complete and all(row.passed for row in self._rows)

    def _to_json(self) -> Mapping[str, object]:
        against, rows = str(self._flags.against or "bare Tornado"), [row.to_json() for row in self._rows]
        return {"against": against, "machine": self._machine, "rows": rows, "passed": self._passed}

    def _print_head(self) -> None:
        flags = self._flags
        other = f"the server in {flags.against}" if flags.against else "a bare Tornado, or itself"
        print(f"server.py against {other}, in turns; {flags.runs} runs of {flags.seconds:g} s for each server")
        print("all servers: same Python, same event loop (uvloop where it is installed), same client")
        for name, value in self._machine.items():
            print(f"{name.replace('_', ' ')}: {value}")

    def _print_rows(self) -> None:
        print("", *(line for row in self._rows for line in row.lines), *self._left_out, sep="\n")


def run_plan(plan: Plan, servers: TrialServers, *, runs: int, seconds: float) -> list[Row]:
    """Start the servers of a trial, perform the trial, and return its rows."""

    async def run() -> list[Row]:
        running = []
        for name, process in processes.items():
            address = await reach(process.url, api_key=KEY if name == GUARDED else "")
            running.append(Server(name, address, count(1), count(1), pid=process.pid))
        meter = Meter()
        trial = Trial(runs, seconds, running, servers.ours, meter, print_line, servers.folder, servers.database)
        return await plan.run(trial)

    with ExitStack() as stack:
        processes = {name: stack.enter_context(servers.named(name)) for name in plan.servers}
        return run_to_end(run())


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = CommandParser("load.bench", description=__doc__)
    parser.add_argument("--runs", type=whole_number(), default=5, help="measurements of each server (%(default)s)")
    parser.add_argument("--seconds", type=seconds, default=4.0, help="seconds for each measurement (%(default)g)")
    parser.add_folder()
    parser.add_argument("--against", type=_checkout, metavar="FOLDER", help="compare with the server in this folder")
    parser.add_argument(
        "--only", action="append", choices=tuple(PLANS), help="run only this trial; can be given several times"
    )
    parser.add_argument(
        "--stored", type=_stored, metavar="FILE", help="also run the trials with many stored orders, on copies of FILE"
    )
    database = "only compare a server on this PostgreSQL database with one on SQLite: postgresql://USER@HOST/NAME"
    parser.add_argument("--database", type=postgresql_url, metavar="URL", help=database)
    parser.add_json()
    flags = parser.parse(argv)
    if (flags.only or flags.stored or flags.database) and flags.against:
        flag = "--only" if flags.only else "--stored" if flags.stored else "--database"
        parser.error(f"{flag} and --against exclude each other: another checkout is compared in one trial")
    return flags


def _checkout(text: str) -> Path:
    if not (Path(text) / "server.py").is_file():
        raise argparse.ArgumentTypeError(f"there is no server.py in {text}")
    return Path(text).resolve()


def _stored(text: str) -> Path:
    file, log = Path(text), Path(f"{text}-wal")
    if not file.is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}: `{HOW_TO_STORE}` makes one")
    if log.exists() and log.stat().st_size:
        raise argparse.ArgumentTypeError(f"{text} has a write-ahead log: a server is using it, or was killed")
    with file.open("rb") as database:
        if database.read(len(SQLITE_HEAD)) != SQLITE_HEAD:
            raise argparse.ArgumentTypeError(f"{text} is not an SQLite database")
    return file.resolve()
