"""Owns the list of trials that the benchmark runs, by name, and what each of them is compared with."""

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import NamedTuple

from load.row import Row
from load.surface_trials import bulk, readers, slow_clients
from load.trial import Trial
from load.trials import change, crowd, intake, reading, steady


class Against(Enum):
    """What ours is compared with: a bare Tornado, another process of ours, that of another checkout, or itself."""

    BARE = "bare"
    TWIN = "twin"
    CHECKOUT = "other"
    ITSELF = "itself"


class Plan(NamedTuple):
    """A trial, and what has to be there for it."""

    title: str
    run: Callable[[Trial], Awaitable[list[Row]]]
    against: Against = Against.BARE


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
}
CHANGE = Plan("POST /order, with record processing running all the time on both sides", change, Against.CHECKOUT)
