"""Attempts that run, and their time-out. The timer runs on the event loop; attempts begin and end on other threads.

Needs no lock: each operation on the set, and each assignment, is atomic.
"""

import asyncio
import logging
from collections.abc import Callable

from models.order import Order
from workers.processors.outcomes import NoResultError
from workers.processors.processor import AttemptReports
from workers.safe_log import log_safely

_log = logging.getLogger(__name__)


class Place:
    """A thread or a coroutine that runs one attempt at a time. `attempt` is the running attempt.

    `given_up` is the latest attempt that was given up. An attempt is a pair: its order, and when it began (seconds).
    """

    __slots__ = ("attempt", "given_up")

    def __init__(self) -> None:
        self.attempt: tuple[Order, float] | None = None
        self.given_up: tuple[Order, float] | None = None

    @property
    def is_overdue(self) -> bool:
        """Whether the attempt was given up but is still running."""
        return self.attempt is not None and self.attempt is self.given_up


class TimeOuts:
    """Gives up attempts that have not ended after `timeout_s` seconds. None means that there is no time-out.

    Up to `places` attempts can run at a time. An attempt that was given up can still be running. Its result is ignored,
    but it still occupies its thread or coroutine. Up to `places` such attempts are replaced by additional attempts.
    `clock` returns monotonic seconds.
    """

    def __init__(self, *, timeout_s: float | None, places: int, clock: Callable[[], float]) -> None:
        self._timeout_s = timeout_s
        self._most = places
        self._spare = 0 if timeout_s is None else places
        self._clock = clock
        self.places: set[Place] = set()
        """All threads or coroutines that make attempts."""
        self._late: set[Place] = set()
        self._alarm: asyncio.TimerHandle | None = None
        self._warnings: set[str] = set()

    def open(self, reports: AttemptReports, *, on_overdue: Callable[[], None]) -> None:
        """Must be called once, on the event loop.

        After attempts have been given up, `on_overdue` is called on the event loop.
        """
        self._reports = reports
        self._on_overdue = on_overdue
        self._loop = asyncio.get_running_loop()
        if self._timeout_s is not None:
            self._alarm = self._loop.call_later(self._timeout_s, self._check, self._timeout_s)

    @property
    def in_time(self) -> int:
        """How many attempts are running and not overdue."""
        return sum(place.attempt is not None and not place.is_overdue for place in tuple(self.places))

    @property
    def overdue(self) -> int:
        """How many attempts were given up but are still running."""
        return sum(place.is_overdue for place in tuple(self._late))

    def usable_places(self) -> int:
        """How many attempts can run at a time, in addition to overdue attempts."""
        return min(self._most, self._most + self._spare - self.overdue) if self._spare else self._most

    def note_end(self) -> None:
        """Must be called after an overdue attempt has ended."""
        if not self.overdue:
            self._warnings.clear()

    def close(self) -> None:
        """Ends the timer. Must be called on the event loop. Can be called twice."""
        if self._alarm:
            self._alarm.cancel()

    def _check(self, timeout_s: float) -> None:
        """Gives up overdue attempts, and sets a timer for the moment at which the next attempt can become overdue."""
        self._late = {place for place in self._late if place.is_overdue}
        now_s, next_s = self._clock(), timeout_s
        overdue: list[tuple[Place, tuple[Order, float]]] = []
        for place in tuple(self.places):
            attempt = place.attempt
            if attempt is None or attempt is place.given_up:
                continue
            if (left_s := attempt[1] + timeout_s - now_s) > 0:
                next_s = min(next_s, left_s)
            else:
                overdue.append((place, attempt))
        # Set before the calls below, because one of them can raise.
        self._alarm = self._loop.call_later(next_s, self._check, timeout_s)
        for place, attempt in overdue:
            place.given_up = attempt
            self._late.add(place)
            self._reports.failed(attempt[0], NoResultError(timeout_s), timeout_s)
            self._warn_about_lost_places()
        if overdue:
            self._on_overdue()

    def _warn_about_lost_places(self) -> None:
        """Logs a warning if fewer orders, or none, can be processed at a time because of overdue attempts."""
        overdue = self.overdue
        lost = overdue - self._spare
        effect = "fewer orders are" if lost < self._most else "no order is"
        if lost > 0 and effect not in self._warnings:
            self._warnings.add(effect)
            text = "%d attempts exceeded the time-out and still run: until some of them end, %s processed"
            log_safely(_log, logging.WARNING, text, overdue, effect)
