"""The trials of the benchmark: what each compares, and what it needs."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from shutil import which

from load.bench.trial import Row, Trial
from load.bench.trials import background, processing, requests, sizes
from load.bench.trials.backup import backup
from load.bench.trials.insert import insert_against_copy
from load.bench.trials.limits import limits
from load.bench.trials.postgresql import full_cycle, two_servers
from load.bench.trials.retention import retention
from load.bench.trials.stalls import stalls
from load.bench.trials.stream import stream
from load.bench.workloads import (
    FUNCTION,
    GUARDED,
    POSTGRESQL,
    RECORD,
    RECORDED,
    SQLITE,
    WEBHOOK,
)
from load.bench.wrk import WRK
from load.cli.errors import CommandError, UsageError
from load.system.reference_servers import RECEIVER, SLOW_RECEIVER

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
    "intake": Plan("POST /order, with record processing running all the time", requests.intake),
    "guarded": Plan("POST /order with an API key, counted and logged", requests.guarded, ("bare", GUARDED)),
    "reading": Plan("GET /order/{id} of 10,000 stored orders, at random", requests.reading),
    "crowd": Plan("1,000 clients at once", requests.crowd),
    "steady": Plan("POST /order at 500 orders/s, open loop", requests.steady),
    "bulk": Plan("POST /orders, 1,000 orders a request, against one by one", requests.bulk, ("ours",)),
    "stream": Plan("POST /orders as a stream, against SQLite alone", stream, (RECORDED,)),
    "readers": Plan(
        "POST /order while 100 clients read all events, against none", background.readers, ("twin", "ours")
    ),
    "slow-clients": Plan(
        "GET /order/{id} at 500/s, among 500 clients that send requests slowly",
        background.among_slow_clients,
        ("ours",),
    ),
    "stalls": Plan("GET /livez every 5 ms while the worst bodies of 8 MiB are taken in", stalls),
    "generator": Plan(
        "POST of orders by the load generator and by wrk", requests.generator, ("bare", RECEIVER), needs_wrk=True
    ),
    "function": Plan("orders processed by a function, against POST /order", processing.function, (FUNCTION,)),
    "webhooks": Plan("webhooks, against a loop of urllib3", processing.webhooks, (RECEIVER, WEBHOOK)),
    "slow-webhooks": Plan(
        "webhooks to a receiver that takes 200 ms", processing.slow_webhooks, (SLOW_RECEIVER, WEBHOOK)
    ),
    "cost": Plan(
        "the CPU time that the server uses for an order", processing.cost, (RECEIVER, RECORD, FUNCTION, WEBHOOK)
    ),
    "memory": Plan("the memory of a server whose orders stay Pending", sizes.memory, ()),
    "stored-intake": _stored_plan("POST /order, until they are Completed", sizes.stored_intake),
    "stored-reading": _stored_plan("GET /order/{id} at random", sizes.stored_reading),
    "stored-crowd": _stored_plan("1,000 clients at once, an order each", sizes.stored_crowd),
    "stored-steady": _stored_plan("an open loop of 500 POST /order a second", sizes.stored_steady),
    "stored-bulk": _stored_plan("POST /orders, 1,000 a request", sizes.stored_bulk),
    "stored-metrics": _stored_plan("GET /metrics, one after another", sizes.stored_metrics),
    "stored-backup": Plan(
        "an open loop of 500 POST /order a second while the file is backed up", backup, ("big",), needs_stored=True
    ),
    "stored-retention": Plan(
        "an open loop of 500 POST /order a second while old orders are archived", retention, (), needs_stored=True
    ),
    "start": Plan("the start on the file, with many Pending orders", sizes.start, (), needs_stored=True),
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
        processing.cost,
        (RECEIVER, SQLITE, POSTGRESQL),
        needs_database=True,
    ),
    "postgresql-memory": Plan(
        "the memory of a server on PostgreSQL whose orders stay Pending",
        partial(sizes.memory, database=" on PostgreSQL"),
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
CHANGE = Plan("POST /order, with record processing running on both servers", requests.change, ("other", "ours"))


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
