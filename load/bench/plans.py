"""Owns the list of trials that the benchmark runs, by name, and what each of them is compared with."""

from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from shutil import which
from typing import NamedTuple

from load.bench.generator_trial import generator
from load.bench.row import Row
from load.bench.surface_trials import bulk, readers, slow_clients
from load.bench.trial import Trial
from load.bench.trials import change, crowd, intake, reading, steady
from load.bench.wrk import WRK


class Against(Enum):
    """What ours is compared with: a bare Tornado, another process of ours, that of another checkout, or itself."""

    BARE = "bare"
    TWIN = "twin"
    CHECKOUT = "other"
    ITSELF = "itself"


class MissingProgram(Exception):
    """A trial that was asked for by name needs a program that is not installed."""


class Plan(NamedTuple):
    """A trial, and what has to be there for it."""

    title: str
    run: Callable[[Trial], Awaitable[list[Row]]]
    against: Against = Against.BARE
    instead: Sequence[str] = ()
    """The command that is run instead of our server, where it is another one."""
    needs: str = ""
    """A program that is no package of ours and may be missing."""


PLANS = {
    "intake": Plan("POST /order, with record processing running all the time, so that its cost is included", intake),
    "reading": Plan("GET /order/{id} of 10,000 stored orders, at random", reading),
    "crowd": Plan("1,000 clients at once", crowd),
    "steady": Plan("POST /order at 500 orders/s, open loop", steady),
    "bulk": Plan("POST /orders, 1,000 orders a request, against POST /order, one by one", bulk, Against.ITSELF),
    "readers": Plan(
        "POST /order while 100 clients read all events, against a twin of the server without any", readers, Against.TWIN
    ),
    "slow-clients": Plan(
        "GET /order/{id} at 500/s, open loop, while 500 clients send a header line a second",
        slow_clients,
        Against.ITSELF,
    ),
    "generator": Plan(
        "POST of orders by the load generator and by wrk, to a bare Tornado and to a server of fixed answers",
        generator,
        instead=("-m", "load.bench.reflex", "--port", "0"),
        needs=WRK,
    ),
}
CHANGE = Plan("POST /order, with record processing running all the time on both sides", change, Against.CHECKOUT)


def choose_plans(names: Sequence[str] | None) -> tuple[list[Plan], list[str]]:
    """Give the trials of these names, or all, that can be run, and a line for each that a missing program leaves out.

    MissingProgram where one that can't be run was named.
    """
    chosen = [plan for name, plan in PLANS.items() if not names or name in names]
    missing = [plan for plan in chosen if plan.needs and which(plan.needs) is None]
    lines = [f"{plan.needs} (a Debian package) is not installed, which leaves out: {plan.title}" for plan in missing]
    if missing and names:
        raise MissingProgram(lines[0])
    return [plan for plan in chosen if plan not in missing], lines
