"""The list of trials by name, with the servers that each of them compares. Pure values, any thread."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from shutil import which

from load.bench import size_trials, trials
from load.bench.row import Row
from load.bench.trial import Trial
from load.bench.wrk_trial import WRK, generator
from load.cli.errors import CommandError, UsageError

HOW_TO_STORE = "python -m load.fill --orders 10000000 --database FILE"


@dataclass(frozen=True)
class Plan:
    """A trial and the servers that run during it, ours last; TrialServers has their names.

    `needs` is a program that may be missing; `needs_stored` is whether our server begins with the orders of the file
    that `--stored` names.
    """

    title: str
    run: Callable[[Trial], Awaitable[list[Row]]]
    servers: tuple[str, ...] = ("bare", "ours")
    needs: str = ""
    needs_stored: bool = False


def _stored(title: str, run: Callable[[Trial], Awaitable[list[Row]]]) -> Plan:
    title = f"{title}: with the orders of the file against 10,000"
    return Plan(title, run, ("small", "big"), needs_stored=True)


PLANS = {
    "intake": Plan("POST /order, with record processing running all the time", trials.intake),
    "reading": Plan("GET /order/{id} of 10,000 stored orders, at random", trials.reading),
    "crowd": Plan("1,000 clients at once", trials.crowd),
    "steady": Plan("POST /order at 500 orders/s, open loop", trials.steady),
    "bulk": Plan("POST /orders, 1,000 orders a request, against one by one", trials.bulk, ("ours",)),
    "readers": Plan("POST /order while 100 clients read all events, against none", trials.readers, ("twin", "ours")),
    "slow-clients": Plan(
        "GET /order/{id} at 500/s, among 500 clients that send requests slowly", trials.slow_clients, ("ours",)
    ),
    "generator": Plan("POST of orders by the load generator and by wrk", generator, ("bare", "fixed"), needs=WRK),
    "memory": Plan("the memory of a server whose orders stay Pending", size_trials.memory, ()),
    "stored-intake": _stored("POST /order, until they are Completed", size_trials.stored_intake),
    "stored-reading": _stored("GET /order/{id} at random", size_trials.stored_reading),
    "stored-crowd": _stored("1,000 clients at once, an order each", size_trials.stored_crowd),
    "stored-steady": _stored("an open loop of 500 POST /order a second", size_trials.stored_steady),
    "stored-bulk": _stored("POST /orders, 1,000 a request", size_trials.stored_bulk),
    "stored-metrics": _stored("GET /metrics, one after another", size_trials.stored_metrics),
    "start": Plan("the start on the file, with many Pending orders", size_trials.start, (), needs_stored=True),
}
CHANGE = Plan("POST /order, with record processing running on both servers", trials.change, ("other", "ours"))


def choose_plans(names: Sequence[str] | None, *, has_stored: bool) -> tuple[list[Plan], list[str]]:
    """Return the trials with these names, or all, that can run, and a line for each reason that leaves out some.

    CommandError or UsageError when one that was named can't run.
    """
    chosen = {name: plan for name, plan in PLANS.items() if not names or name in names}
    missing = {name: plan for name, plan in chosen.items() if plan.needs and which(plan.needs) is None}
    lines = [
        f"{plan.needs} (a Debian package) is not installed, which leaves out: {plan.title}" for plan in missing.values()
    ]
    if missing and names:
        raise CommandError(lines[0])
    without_file = [name for name, plan in chosen.items() if plan.needs_stored and not has_stored]
    if without_file:
        line = f"without --stored FILE, which `{HOW_TO_STORE}` makes, are left out: {', '.join(without_file)}"
        if names:
            raise UsageError(line)
        lines.append(line)
    return [plan for name, plan in chosen.items() if name not in missing and name not in without_file], lines
