"""Owns who comes to the shop beside the orders at their rate: which customers, how many; on the event loop's thread."""

from collections.abc import Callable, Coroutine, Iterator
from random import Random
from typing import Any, NamedTuple

from load.http.address import Address
from load.soak.customers import Complain, come_and_go, follow, pass_by, run_errands, take_nothing
from load.soak.errands import Errand, Errands

POSTING = 64
"""Most connections for the orders that come at the rate."""
COMING_AND_GOING, TAKING_NOTHING, PASSING_BY = 4, 2, 2


class Group(NamedTuple):
    """Customers who run the same errands, with a pause after each of so many seconds on average."""

    customers: int
    errands: Callable[[Errands], Iterator[Errand]]
    pause_s: float
    stays: bool = True
    """Whether a customer keeps its connection, or opens one for each errand."""


GROUPS = (
    Group(4, Errands.lookups, 0.05),
    Group(3, Errands.waits, 0.1),
    Group(2, Errands.listings, 0.3),
    Group(2, Errands.metrics, 1.0),
    Group(1, Errands.mistakes, 0.1),
    Group(2, Errands.glances, 0.1, stays=False),
    Group(1, Errands.arrays, 10.0),
)
CLIENTS = POSTING + sum(group.customers for group in GROUPS) + COMING_AND_GOING + TAKING_NOTHING + PASSING_BY + 2
"""Most connections at once: two more for the dashboard's stream, and for looking at the metrics."""


def crowd(
    address: Address,
    *,
    errands: Callable[[str], Errands],
    chance: Callable[[str], Random],
    complain: Complain,
) -> Iterator[Coroutine[Any, Any, None]]:
    """Give everybody but those whose orders come at the rate; `errands` and `chance` are made for each by a name."""
    for group in GROUPS:
        for number in range(group.customers):
            name = f"{group.errands.__name__} {number}"
            yield run_errands(
                address,
                group.errands(errands(name)),
                pause_s=group.pause_s,
                chance=chance(f"{name} pauses"),
                complain=complain,
                stays=group.stays,
            )
    for number in range(COMING_AND_GOING):
        yield come_and_go(address, chance=chance(f"come and go {number}"), complain=complain)
    for number in range(TAKING_NOTHING):
        yield take_nothing(address, chance=chance(f"take nothing {number}"), complain=complain)
    for number in range(PASSING_BY):
        yield pass_by(address, pause_s=0.1, chance=chance(f"pass by {number}"), complain=complain)
    yield follow(address, "/metrics/events", complain=complain)
