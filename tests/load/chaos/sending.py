"""One client that sends some orders to the fake shop, and ends."""

import asyncio
import time
from random import Random

from load.chaos.shop import Shop
from load.chaos.single import SingleClient
from load.chaos.throttle import Throttle


class EndingThrottle(Throttle):
    """Has the clients end after so many turns, none of which is waited for."""

    def __init__(self, turns: int) -> None:
        super().__init__(per_second=1.0, clock_s=time.monotonic, ending=asyncio.Event())
        self._left = turns

    async def turn(self, count: int) -> bool:
        self._left -= 1
        return self._left >= 0


async def send(shop: Shop, orders: int) -> None:
    """Have one client send so many new orders, and others between them."""
    await SingleClient(shop, throttle=EndingThrottle(orders), chance=Random(1)).run()
