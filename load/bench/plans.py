"""Owns the list of trials that the benchmark runs, by name, and what each of them needs and is compared with."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from shutil import which

from load.bench.generator_trial import generator
from load.bench.row import Row
from load.bench.size_trials import memory, start
from load.bench.stored_trials import (
    stored_bulk,
    stored_crowd,
    stored_intake,
    stored_metrics,
    stored_reading,
    stored_steady,
)
from load.bench.surface_trials import bulk, readers, slow_clients
from load.bench.trial import Launches, Trial
from load.bench.trials import change, crowd, intake, reading, steady
from load.bench.wrk import WRK

HOW_TO_STORE = "python -m load.fill --orders 10000000 --database FILE"


class Against(Enum):
    """What ours is compared with: a bare Tornado, another process of ours, that of another checkout, or itself.

    Or one with few orders, where ours has those of the file that `--stored` names.
    """

    BARE = "bare"
    TWIN = "twin"
    CHECKOUT = "other"
    ITSELF = "itself"
    SMALL = "small"


class MissingProgram(Exception):
    """A trial that was asked for by name needs a program that is not installed."""


class MissingFile(Exception):
    """A trial that was asked for by name needs a file with many orders."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A trial, and what has to be there for it."""

    title: str
    needs: str = ""
    """A program that is no package of ours and may be missing."""
    needs_stored: bool = False
    """Whether ours begins with the orders of the file that `--stored` names."""


@dataclass(frozen=True, kw_only=True)
class Comparison(Plan):
    """A trial of servers that run while it lasts."""

    run: Callable[[Trial], Awaitable[list[Row]]]
    against: Against = Against.BARE
    instead: Sequence[str] = ()
    """The command that is run instead of our server, where it is another one."""


@dataclass(frozen=True, kw_only=True)
class Launching(Plan):
    """A trial that starts our server itself."""

    run: Callable[[Launches], Awaitable[list[Row]]]


def _stored(title: str, run: Callable[[Trial], Awaitable[list[Row]]]) -> Comparison:
    title = f"{title}: with the orders of the file against 10,000"
    return Comparison(title=title, run=run, against=Against.SMALL, needs_stored=True)


PLANS: dict[str, Comparison | Launching] = {
    "intake": Comparison(
        title="POST /order, with record processing running all the time, so that its cost is included", run=intake
    ),
    "reading": Comparison(title="GET /order/{id} of 10,000 stored orders, at random", run=reading),
    "crowd": Comparison(title="1,000 clients at once", run=crowd),
    "steady": Comparison(title="POST /order at 500 orders/s, open loop", run=steady),
    "bulk": Comparison(
        title="POST /orders, 1,000 orders a request, against POST /order, one by one", run=bulk, against=Against.ITSELF
    ),
    "readers": Comparison(
        title="POST /order while 100 clients read all events, against a twin of the server without any",
        run=readers,
        against=Against.TWIN,
    ),
    "slow-clients": Comparison(
        title="GET /order/{id} at 500/s, open loop, while 500 clients send a header line a second",
        run=slow_clients,
        against=Against.ITSELF,
    ),
    "generator": Comparison(
        title="POST of orders by the load generator and by wrk, to a bare Tornado and to a server of fixed answers",
        run=generator,
        instead=("-m", "load.bench.reflex", "--port", "0"),
        needs=WRK,
    ),
    "memory": Launching(title="the memory of a server whose orders stay Pending", run=memory),
    "stored-intake": _stored("POST /order, until they are Completed", stored_intake),
    "stored-reading": _stored("GET /order/{id} at random", stored_reading),
    "stored-crowd": _stored("1,000 clients at once, an order each", stored_crowd),
    "stored-steady": _stored("an open loop of 500 POST /order a second", stored_steady),
    "stored-bulk": _stored("POST /orders, 1,000 a request", stored_bulk),
    "stored-metrics": _stored("GET /metrics, one after another", stored_metrics),
    "start": Launching(title="the start on the file, with many of its orders Pending", run=start, needs_stored=True),
}
CHANGE = Comparison(
    title="POST /order, with record processing running all the time on both sides", run=change, against=Against.CHECKOUT
)


def choose_plans(names: Sequence[str] | None, *, has_stored: bool) -> tuple[list[Comparison | Launching], list[str]]:
    """Give the trials of these names, or all, that can be run, and a line for each reason that leaves some out.

    MissingProgram or MissingFile where one that can't be run was named.
    """
    chosen = {name: plan for name, plan in PLANS.items() if not names or name in names}
    missing = {name: plan for name, plan in chosen.items() if plan.needs and which(plan.needs) is None}
    lines = [
        f"{plan.needs} (a Debian package) is not installed, which leaves out: {plan.title}" for plan in missing.values()
    ]
    if missing and names:
        raise MissingProgram(lines[0])
    without_file = [name for name, plan in chosen.items() if plan.needs_stored and not has_stored]
    if without_file:
        line = f"without --stored FILE, which `{HOW_TO_STORE}` makes, are left out: {', '.join(without_file)}"
        if names:
            raise MissingFile(line)
        lines.append(line)
    plans = [plan for name, plan in chosen.items() if name not in missing and name not in without_file]
    return plans, lines
