"""Owns the load on one shop: its clients and how fast they send; on the event loop's thread."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from load.chaos.many import ManyClient
from load.chaos.plan import RECORD, WEBHOOK
from load.chaos.shop import Shop
from load.chaos.single import SingleClient
from load.chaos.throttle import Throttle

LEAST_PER_S, RESERVE = 600.0, 1.4
MOST_SINGLES_PER_S, MOST_WEBHOOKS_PER_S = 400.0, 100.0
FEW_AT_ONCE, MOST_AT_ONCE = 200, 800


@dataclass(frozen=True, kw_only=True)
class Load:
    """How many clients send one by one, as arrays and as lines, and how many orders a second.

    `singles_per_s` go one by one, `many_per_s` in requests of `most` orders at most.
    """

    singles: int
    arrays: int
    lines: int
    singles_per_s: float
    many_per_s: float
    most: int


def loads_for(*, orders: int, duration_s: float) -> dict[str, Load]:
    """Give the load of each shop, so that so many orders are acknowledged while the harm is done, or soon after."""
    per_s = max(LEAST_PER_S, RESERVE * orders / max(1.0, duration_s))
    webhooks_per_s = min(MOST_WEBHOOKS_PER_S, per_s / 10)
    singles_per_s = min(MOST_SINGLES_PER_S, per_s / 2)
    many_per_s = per_s - singles_per_s - webhooks_per_s
    return {
        RECORD: Load(
            singles=16,
            arrays=2,
            lines=2,
            singles_per_s=singles_per_s,
            many_per_s=many_per_s,
            most=round(min(MOST_AT_ONCE, max(FEW_AT_ONCE, many_per_s / 2))),
        ),
        WEBHOOK: Load(
            singles=6, arrays=1, lines=1, singles_per_s=webhooks_per_s / 2, many_per_s=webhooks_per_s / 2, most=40
        ),
    }


class Traffic:
    """Clients that send orders from `start` to `end`, each until its last order is answered."""

    def __init__(self, shop: Shop, load: Load, *, seed: int, clock_s: Callable[[], float]) -> None:
        self._ending = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        one = Throttle(per_second=load.singles_per_s, clock_s=clock_s, ending=self._ending)
        many = Throttle(per_second=load.many_per_s, clock_s=clock_s, ending=self._ending)

        def chance(number: int) -> Random:
            return Random(f"client {seed} {shop.name} {number}")

        self._clients: list[SingleClient | ManyClient] = [
            SingleClient(shop, throttle=one, chance=chance(number)) for number in range(load.singles)
        ]
        forms = [False] * load.arrays + [True] * load.lines
        self._clients += [
            ManyClient(shop, most=load.most, as_lines=as_lines, throttle=many, chance=chance(number))
            for number, as_lines in enumerate(forms, load.singles)
        ]

    def start(self) -> list[asyncio.Task[None]]:
        """Have every client begin, and give what ends with an exception only where a client is broken."""
        self._tasks = [asyncio.create_task(client.run()) for client in self._clients]
        return self._tasks

    async def end(self) -> None:
        """Have no new orders sent, and wait for the answers to those that were."""
        self._ending.set()
        await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Break everything off; may be called twice."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
