"""Owns the load on one shop: its clients and how fast they send; on the event loop's thread."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from load.chaos.many import ManyClient
from load.chaos.pace import Pace
from load.chaos.shop import Shop
from load.chaos.single import SingleClient


@dataclass(frozen=True, kw_only=True)
class Load:
    """How many clients send one by one, as arrays and as lines, and how many orders a second, one by one and in all.

    `most` is how many orders a request may have.
    """

    singles: int
    arrays: int
    lines: int
    singles_per_s: float
    many_per_s: float
    most: int


class Traffic:
    """Clients that send orders from `start` to `end`, each until its last order is answered."""

    def __init__(self, shop: Shop, load: Load, *, seed: int, clock_s: Callable[[], float]) -> None:
        self._ending = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        one = Pace(per_second=load.singles_per_s, clock_s=clock_s, ending=self._ending)
        many = Pace(per_second=load.many_per_s, clock_s=clock_s, ending=self._ending)
        chances = (Random(f"client {seed} {shop.name} {number}") for number in range(1 << 16))
        self._clients: list[SingleClient | ManyClient] = [
            SingleClient(shop, pace=one, chance=next(chances)) for _ in range(load.singles)
        ]
        self._clients += [
            ManyClient(
                shop,
                most=load.most,
                as_lines=number >= load.arrays,
                pace=many,
                chance=next(chances),
            )
            for number in range(load.arrays + load.lines)
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
