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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from shutil import which

from load.bench import background_trials, size_trials, trials
from load.bench.backup_trial import backup
from load.bench.copy_trial import insert_against_copy
from load.bench.limits_trial import limits
from load.bench.measurement import Meter
from load.bench.postgresql_trials import full_cycle, new_schema, two_servers
from load.bench.retention_trial import retention
from load.bench.stall_trial import stalls
from load.bench.stream_trial import stream
from load.bench.trial import Row, Server, Trial
from load.bench.workloads import (
    AT_ONCE,
    FUNCTION,
    GUARDED,
    KEY,
    POSTGRESQL,
    RECORD,
    RECORDED,
    SQLITE,
    WEBHOOK,
    TrialServers,
)
from load.bench.wrk import WRK, wrk_version
from load.cli.command import Command, Output, json_outputs, print_line, run_to_end
from load.cli.errors import CommandError, ExitStatus, UsageError
from load.cli.flags import CommandParser, postgresql_url, seconds, whole_number
from load.http.address import reach
from load.system.machine import allow_connections, describe_machine, new_folder
from load.system.reference_servers import RECEIVER, SLOW_RECEIVER

SQLITE_HEAD = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat.html#magic_header_string
HOW_TO_STORE = "python -m load.fill --orders 10000000 --database FILE"


@dataclass(frozen=True)
class Plan:
    """Describes a trial. `servers` has the names of its servers; our server is the last one.

    If `needs_stored`, it needs --stored. If `needs_database`, it needs --database.
    """

    title: str
    run: Callable[[Trial], Awaitable[list[Row]]]
    servers: tuple[str, ...] = ("bare", "ours")
    needs_wrk: bool = False
    needs_stored: bool = False
    needs_database: bool = False


def _stored_plan(title: str, run: Callable[[Trial], Awaitable[list[Row]]]) -> Plan:
    title = f"{title}: with the orders of the file against 10,000"
    return Plan(title, run, ("small", "big"), needs_stored=True)


PLANS = {
    "intake": Plan("POST /order, with record processing running all the time", trials.intake),
    "guarded": Plan("POST /order with an API key, counted and logged", trials.guarded, ("bare", GUARDED)),
    "reading": Plan("GET /order/{id} of 10,000 stored orders, at random", trials.reading),
    "crowd": Plan("1,000 clients at once", trials.crowd),
    "steady": Plan("POST /order at 500 orders/s, open loop", trials.steady),
    "bulk": Plan("POST /orders, 1,000 orders a request, against one by one", trials.bulk, ("ours",)),
    "stream": Plan("POST /orders as a stream, against SQLite alone", stream, (RECORDED,)),
    "readers": Plan(
        "POST /order while 100 clients read all events, against none", background_trials.readers, ("twin", "ours")
    ),
    "slow-clients": Plan(
        "GET /order/{id} at 500/s, among 500 clients that send requests slowly",
        background_trials.among_slow_clients,
        ("ours",),
    ),
    "stalls": Plan("GET /livez every 5 ms while the worst bodies of 8 MiB are taken in", stalls),
    "generator": Plan(
        "POST of orders by the load generator and by wrk", trials.generator, ("bare", RECEIVER), needs_wrk=True
    ),
    "function": Plan("orders processed by a function, against POST /order", trials.function, (FUNCTION,)),
    "webhooks": Plan("webhooks, against a loop of urllib3", trials.webhooks, (RECEIVER, WEBHOOK)),
    "slow-webhooks": Plan("webhooks to a receiver that takes 200 ms", trials.slow_webhooks, (SLOW_RECEIVER, WEBHOOK)),
    "cost": Plan("the CPU time that the server uses for an order", trials.cost, (RECEIVER, RECORD, FUNCTION, WEBHOOK)),
    "memory": Plan("the memory of a server whose orders stay Pending", size_trials.memory, ()),
    "stored-intake": _stored_plan("POST /order, until they are Completed", size_trials.stored_intake),
    "stored-reading": _stored_plan("GET /order/{id} at random", size_trials.stored_reading),
    "stored-crowd": _stored_plan("1,000 clients at once, an order each", size_trials.stored_crowd),
    "stored-steady": _stored_plan("an open loop of 500 POST /order a second", size_trials.stored_steady),
    "stored-bulk": _stored_plan("POST /orders, 1,000 a request", size_trials.stored_bulk),
    "stored-metrics": _stored_plan("GET /metrics, one after another", size_trials.stored_metrics),
    "stored-backup": Plan(
        "an open loop of 500 POST /order a second while the file is backed up", backup, ("big",), needs_stored=True
    ),
    "stored-retention": Plan(
        "an open loop of 500 POST /order a second while old orders are archived", retention, (), needs_stored=True
    ),
    "start": Plan("the start on the file, with many Pending orders", size_trials.start, (), needs_stored=True),
    "postgresql": Plan(
        "POST /order, on PostgreSQL against SQLite", full_cycle, (SQLITE, POSTGRESQL), needs_database=True
    ),
    "postgresql-servers": Plan(
        "POST /order, to two servers on a PostgreSQL database against one",
        two_servers,
        (POSTGRESQL,),
        needs_database=True,
    ),
    "postgresql-copy": Plan(
        "the server's INSERT of orders against COPY", insert_against_copy, (RECORDED,), needs_database=True
    ),
    "postgresql-cost": Plan(
        "the CPU time that the server uses for an order, on SQLite and on PostgreSQL",
        trials.cost,
        (RECEIVER, SQLITE, POSTGRESQL),
        needs_database=True,
    ),
    "postgresql-memory": Plan(
        "the memory of a server on PostgreSQL whose orders stay Pending",
        partial(size_trials.memory, database=" on PostgreSQL"),
        (),
        needs_database=True,
    ),
    "postgresql-limits": Plan(
        "POST /order, to one, two and three servers on a PostgreSQL database, and what limits them",
        limits,
        (POSTGRESQL,),
        needs_database=True,
    ),
}
CHANGE = Plan("POST /order, with record processing running on both servers", trials.change, ("other", "ours"))


def choose_plans(
    names: Sequence[str] | None, *, has_stored: bool, has_database: bool = False
) -> tuple[list[Plan], list[str]]:
    """Return the trials that can run, and why others can't. Raises CommandError if a trial in `names` can't run.

    With a PostgreSQL database and without names, returns only the trials that compare PostgreSQL with SQLite.
    """
    if has_database and not names:
        names = [name for name, plan in PLANS.items() if plan.needs_database or name == "memory"]
    chosen = {name: plan for name, plan in PLANS.items() if not names or name in names}
    without_wrk = [plan for plan in chosen.values() if plan.needs_wrk and not which(WRK)]
    lines = [f"{WRK} (a Debian package) is not installed, which leaves out: {plan.title}" for plan in without_wrk]
    if names and lines:
        raise CommandError(lines[0])
    for flag, is_given, needs in (
        ("--database URL", has_database, [name for name, plan in chosen.items() if plan.needs_database]),
        (
            f"--stored FILE (`{HOW_TO_STORE}` makes it)",
            has_stored,
            [name for name in chosen if chosen[name].needs_stored],
        ),
    ):
        if needs and not is_given:
            lines.append(f"left out without {flag}: {', '.join(needs)}")
            if names:
                raise UsageError(lines[-1])
            chosen = {name: plan for name, plan in chosen.items() if name not in needs}
    return [plan for plan in chosen.values() if plan not in without_wrk], lines


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
