"""Owns the two servers whose times are compared, one with few orders and one with many; on the event loop's thread."""

from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from typing import NamedTuple

from load.bench.row import Row
from load.bench.trial import Trial
from load.bench.turns import Turn
from load.fill.feeder import count_orders
from load.http.address import Address
from load.http.connection import Connection, send_request

TIMES_AS_LONG, TIMES_AIM = 1.25, 1.1
TURNS = 6
"""Of each side in a run, an even number."""


class NotStored(Exception):
    """A server does not have the orders that it is to have."""


class Side(NamedTuple):
    """A server that had the orders 1 to `stored` and nothing left to do; `ids` are of orders that it has not."""

    address: Address
    stored: int
    ids: Iterator[int]


class Sides(NamedTuple):
    """The server with few orders, and that with many."""

    small: Side
    big: Side

    async def in_turns(
        self, number: int, measure: Callable[[Side], Awaitable[Turn]], *, turns: int = TURNS
    ) -> tuple[Turn, Turn]:
        """Measure each side in so many turns and give the sums of the small one's and of the big one's.

        They go small, big, big, small and so on, in runs of an even number the other way round: what slows the machine
        for a while, and more and more, slows both.
        """
        order = ([0, 1, 1, 0] if number % 2 else [1, 0, 0, 1]) * (turns // 2)
        measured: list[list[Turn]] = [[], []]
        for side in order:
            measured[side].append(await measure(self[side]))
        for first, *others in measured:
            for other in others:
                first.add(other)
        return measured[0][0], measured[1][0]

    def row(self, what: str) -> Row:
        """Give a row whose value is how many times as long something takes with many orders."""
        name = f"{what}: time with {self.big.stored:,} stored orders against {self.small.stored:,}"
        return Row(name=name, at_most=TIMES_AS_LONG, aim=TIMES_AIM)


async def find_sides(trial: Trial) -> Sides:
    """Wait until both servers have nothing left to do, and give what they have; NotStored when ids are missing."""
    sides = Sides(*[await _find_side(trial, address) for address in (trial.other, trial.ours)])
    trial.tell(f"small has {sides.small.stored:,} orders, big has {sides.big.stored:,} (by /metrics; ids from 1 on)")
    return sides


async def _find_side(trial: Trial, address: Address) -> Side:
    await trial.settle(address)
    stored = await count_orders(address, clock_ns=trial.clock_ns)
    connection = Connection(address)
    try:
        statuses = [(await send_request(connection, address.get(f"/order/{stored + more}"))).status for more in (0, 1)]
    finally:
        connection.close()
    if statuses != [200, 404]:
        raise NotStored(f"the server has {stored:,} orders, but not those with the ids from 1 on: load.fill makes them")
    return Side(address, stored, count(stored + 1))
