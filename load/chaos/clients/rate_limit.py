"""Limits how fast the clients of a target send orders. Runs on the event loop."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

CATCH_UP_S = 10.0  # After a pause, clients also send the orders that were due in the last 10 s, but no older orders.


@dataclass(kw_only=True)
class RateLimit:
    """Limits how many orders all clients together send per second. Stops the clients when `ending` is set."""

    per_second: float
    clock_s: Callable[[], float]
    ending: asyncio.Event

    def __post_init__(self) -> None:
        self._next_s = self.clock_s()

    async def acquire(self, count: int) -> bool:
        """Wait until the caller is allowed to send `count` orders. Return False if `ending` is set."""
        now_s = self.clock_s()
        due_s = max(self._next_s, now_s - CATCH_UP_S)
        self._next_s = due_s + count / self.per_second
        if due_s > now_s:
            with suppress(TimeoutError):
                async with asyncio.timeout(due_s - now_s):
                    await self.ending.wait()
        return not self.ending.is_set()
