"""Owns how many orders a second a shop's clients may send, and when they end; on the event loop's thread."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

CATCH_UP_S = 10.0
"""What could not be sent while a server was down is sent afterwards, up to so long a time of it."""


class Throttle:
    """A number of orders a second, shared by clients that take turns until `ending`."""

    def __init__(self, *, per_second: float, clock_s: Callable[[], float], ending: asyncio.Event) -> None:
        self._interval_s = 1 / per_second
        self._clock_s = clock_s
        self._ending = ending
        self._next_s = clock_s()

    async def turn(self, count: int) -> bool:
        """Wait until so many orders are due; False where there are to be no more."""
        now_s = self._clock_s()
        due_s = max(self._next_s, now_s - CATCH_UP_S)
        self._next_s = due_s + count * self._interval_s
        if due_s > now_s:
            with suppress(TimeoutError):
                async with asyncio.timeout(due_s - now_s):
                    await self._ending.wait()
        return not self._ending.is_set()
