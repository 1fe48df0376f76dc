"""Limits how many deliveries to one receiver run at a time, and pauses them if the receiver can't take more.

A delivery is one request that sends an order to the receiver of webhooks.

Implements `workers.processors.claim_gate.ClaimGate`. The dispatcher calls the methods of ClaimGate on the event
loop; the runner calls `begin` and `end` on the thread that sends. A lock protects the attributes.
"""

import enum
import logging
import threading
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from models.order import time_as_texts
from workers.backoff import Backoff
from workers.processors.claim_gate import GateState
from workers.processors.outcomes import NotSentError
from workers.processors.webhooks.delivery_result import DeliveryResult, Verdict

MAX_UNREACHABLE = 5
"""Deliveries are paused after connections failed or timed out for this number of different orders in a row."""
MIN_PAUSE_S = 0.01
"""The shortest pause, in seconds, so that a receiver that sends `Retry-After: 0` each time gets at most 100
deliveries a second."""
MIN_LOG_INTERVAL_S = 10.0
"""The minimum number of seconds between two log lines about the beginnings of pauses for the same reason."""
LONG_PAUSE_S = 60.0
"""A pause of more than this number of seconds, and an extension of a pause by more than this, is always logged."""
SLOW_GROWTH = 0.25
"""After a pause, the limit on simultaneous deliveries grows again. When the limit is above half of its value before the
pause, each accepted delivery adds this number divided by the limit."""

_MICROSECONDS = 1_000_000

_log = logging.getLogger("orders.deliveries")


class PauseReason(enum.StrEnum):
    """Why deliveries are paused."""

    BUSY = "busy"
    """The receiver sent a 429, or a 503 with Retry-After."""
    UNREACHABLE = "unreachable"
    """Connections failed or timed out."""


class Delivery(NamedTuple):
    """A delivery that has begun. `pauses` is the number of pauses that began before this delivery."""

    order_id: int
    pauses: int


class DeliveryGate:
    """Allows up to `max_open` deliveries at a time, and none during a pause.

    A pause begins when the receiver is busy, or after `MAX_UNREACHABLE` deliveries without a response. A pause lasts as
    long as the receiver requests by Retry-After. Without this header, `backoff` sets the length. `end_pause` ends a
    pause earlier.

    After a pause, only one delivery at a time is allowed until the receiver accepts one. If the receiver is busy or
    unreachable again, the next pause begins at once. After the first accepted delivery, each accepted delivery raises
    the limit on simultaneous deliveries: by 1 until the limit is half of what it was before the pause, and then by less
    than 1 (`SLOW_GROWTH`). The window of TCP grows in the same way (RFC 5681).

    While the limit is not reduced, `queue` additional orders can be claimed. The additional orders wait until a
    delivery ends. So the next delivery does not have to wait for a claim.

    `clock` returns monotonic time in seconds. `clock_us` returns microseconds since 1970, UTC, for the log.
    """

    def __init__(
        self,
        *,
        max_open: int,
        queue: int = 0,
        backoff: Backoff,
        clock: Callable[[], float],
        clock_us: Callable[[], int],
    ) -> None:
        self._full_limit = max_open
        self._queue = queue
        self._backoff = backoff
        self._clock = clock
        self._clock_us = clock_us
        self._lock = threading.Lock()
        self._limit = float(max_open)
        self._threshold = float(max_open)
        self._open = 0
        self._closed_until_s = clock()
        self._pauses = 0
        self._failed_probes = 0
        self._unreachable: set[int] = set()
        self._log = _PauseLog()
        self._paused_since_s: float | None = None
        self._by_reason: Counter[str] = Counter()

    def max_open(self) -> int:
        with self._lock:
            limit = self._max_open()
            return limit + self._queue if limit == self._full_limit else limit

    def opens_in_s(self) -> float:
        with self._lock:
            return max(0.0, self._closed_until_s - self._clock())

    def end_pause(self) -> bool:
        with self._lock:
            now_s = self._clock()
            if now_s >= self._closed_until_s:
                return False
            self._closed_until_s = now_s
            # If the next delivery fails, the pause after it is as short as a first pause.
            self._failed_probes = 0
            return True

    def state(self) -> GateState:
        with self._lock:
            pauses = {reason.value: self._by_reason[reason] for reason in PauseReason}
            return GateState(self._paused_since_s is not None, pauses)

    def begin(self, order_id: int) -> Delivery:
        """Counts a delivery that is about to be sent. Raises NotSentError if no more deliveries are allowed."""
        with self._lock:
            if self._open >= self._max_open():
                raise NotSentError
            self._open += 1
            return Delivery(order_id, self._pauses)

    def end(self, delivery: Delivery, result: DeliveryResult) -> float:
        """Records how the delivery ended. Returns the seconds until the pause ends; 0 without a pause."""
        with self._lock:
            self._open -= 1
            is_current = delivery.pauses == self._pauses
            if result.verdict is Verdict.BUSY:
                self._on_busy(result, is_current=is_current)
            elif result.verdict is Verdict.UNREACHABLE:
                self._on_unreachable(delivery.order_id, result, is_current=is_current)
            else:
                self._unreachable.clear()
                # A delivery that began before the pause says nothing about the receiver after the pause.
                if result.verdict is Verdict.ACCEPTED and is_current:
                    self._on_accepted()
            return max(0.0, self._closed_until_s - self._clock())

    def _max_open(self) -> int:
        return 0 if self._clock() < self._closed_until_s else int(self._limit)

    def _on_busy(self, result: DeliveryResult, *, is_current: bool) -> None:
        self._unreachable.clear()
        if is_current:
            self._begin_pause(PauseReason.BUSY, result)
        elif result.retry_after_s is not None:
            self._close(PauseReason.BUSY, result, result.retry_after_s, is_new=False)

    def _on_unreachable(self, order_id: int, result: DeliveryResult, *, is_current: bool) -> None:
        if not is_current:
            return
        self._unreachable.add(order_id)
        if self._paused_since_s is not None or len(self._unreachable) >= MAX_UNREACHABLE:
            self._unreachable.clear()
            self._begin_pause(PauseReason.UNREACHABLE, result)

    def _on_accepted(self) -> None:
        if self._paused_since_s is not None:
            self._log.end(self._clock() - self._paused_since_s)
            self._paused_since_s = None
        self._failed_probes = 0
        if self._limit < self._threshold:
            self._limit = min(self._limit + 1.0, self._threshold)
        else:
            self._limit = min(self._limit + SLOW_GROWTH / self._limit, float(self._full_limit))

    def _begin_pause(self, reason: PauseReason, result: DeliveryResult) -> None:
        self._pauses += 1
        self._by_reason[reason] += 1
        self._failed_probes += 1
        duration_s = result.retry_after_s
        if duration_s is None:
            duration_s = self._backoff.delay_s(self._failed_probes)
        is_new = self._paused_since_s is None
        if is_new:
            self._threshold = max(1.0, self._limit / 2)
            self._paused_since_s = self._clock()
        self._close(reason, result, max(duration_s, MIN_PAUSE_S), is_new=is_new)
        self._limit = 1.0

    def _close(self, reason: PauseReason, result: DeliveryResult, duration_s: float, *, is_new: bool) -> None:
        """Allows no deliveries for `duration_s` from now, and logs this if the pause is new or long."""
        now_s = self._clock()
        is_long = now_s + duration_s - max(now_s, self._closed_until_s) > LONG_PAUSE_S
        self._closed_until_s = max(self._closed_until_s, now_s + duration_s)
        if is_new or is_long:
            until_us = self._clock_us() + round((self._closed_until_s - now_s) * _MICROSECONDS)
            self._log.begin(reason, result.reason, now_s=now_s, until_us=until_us, is_long=is_long)


class _PauseLog:
    """Logs when a pause begins and ends, at a limited rate: a receiver with a rate limit can cause many pauses.

    A long pause (`LONG_PAUSE_S`) is always logged.
    """

    def __init__(self) -> None:
        self._quiet_until_s: dict[PauseReason, float] = {}
        self._not_logged = 0
        self._is_logged = False

    def begin(self, reason: PauseReason, text: str, *, now_s: float, until_us: int, is_long: bool) -> None:
        self._is_logged = is_long or now_s >= self._quiet_until_s.get(reason, now_s)
        if not self._is_logged:
            self._not_logged += 1
            return
        self._quiet_until_s[reason] = now_s + MIN_LOG_INTERVAL_S
        more = f" ({self._not_logged} earlier pauses were not logged)" if self._not_logged else ""
        self._not_logged = 0
        # Rounded up to a whole second. Rounded down, the end of a short pause could be earlier than its beginning.
        until, _ = time_as_texts(-(-until_us // _MICROSECONDS) * _MICROSECONDS)
        _log.warning("deliveries are paused until %s UTC: %s%s", until, text, more)

    def end(self, duration_s: float) -> None:
        if self._is_logged:
            _log.info("deliveries resumed after %.1f s", duration_s)
