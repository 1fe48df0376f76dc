"""The calls of the processor that have not ended, and their time-out. Runs on the event loop."""

import asyncio
import itertools
from collections.abc import Callable, Sequence

from models.order import Order


class RunningCalls:
    """Counts the running calls of the processor. A call that has not ended after `timeout_s` seconds becomes overdue.

    `give_up` is called once for each overdue call, with its orders. If `timeout_s` is None, no call becomes overdue.
    """

    def __init__(self, *, timeout_s: float | None, give_up: Callable[[Sequence[Order]], None]) -> None:
        self._timeout_s = timeout_s
        self._give_up = give_up
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count()
        # The start time and the orders of each call, by its number. The first call is the next to become overdue.
        self._in_time: dict[int, tuple[float, Sequence[Order]]] = {}
        self._overdue: set[int] = set()
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def in_time(self) -> int:
        """How many calls run and are not overdue."""
        return len(self._in_time)

    @property
    def overdue(self) -> int:
        """How many overdue calls have not ended."""
        return len(self._overdue)

    def begin(self, orders: Sequence[Order]) -> int:
        """Must be called before each call of the processor. Returns a number for `end`."""
        number = next(self._numbers)
        self._in_time[number] = (self._loop.time(), orders)
        if self._timeout_s is not None and self._alarm is None:
            self._alarm = self._loop.call_later(self._timeout_s, self._check, self._timeout_s)
        return number

    def end(self, number: int) -> None:
        """Must be called once when the call has ended. `number` is the one that `begin` returned."""
        if self._in_time.pop(number, None) is None:
            self._overdue.discard(number)

    def close(self) -> None:
        """From now on, no more calls become overdue. Can be called twice."""
        if self._alarm:
            self._alarm.cancel()
            self._alarm = None

    def _check(self, timeout_s: float) -> None:
        self._alarm = None
        while self._in_time:
            number, (begun_s, orders) = next(iter(self._in_time.items()))
            if (left_s := begun_s + timeout_s - self._loop.time()) > 0:
                self._alarm = self._loop.call_later(left_s, self._check, timeout_s)
                return
            del self._in_time[number]
            self._overdue.add(number)
            self._give_up(orders)
