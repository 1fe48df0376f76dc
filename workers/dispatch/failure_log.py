"""Logs failed attempts, at a limited rate. Usable on any thread."""

import logging
import threading
import traceback
from collections import Counter
from collections.abc import Callable

from models.order import Order, Status
from models.writes import Outcome
from workers.error_text import is_expected, one_line

MIN_INTERVAL_S = 1.0
"""The minimum time between two log lines of the same kind."""
MAX_FRAMES = 20
"""The maximum number of stack frames in a log line."""

_log = logging.getLogger(__name__)


class FailureLog:
    """Logs at most one failed attempt per `MIN_INTERVAL_S` seconds, and counts the others.

    The limit applies separately to attempts that will be retried and to attempts after which the order is Failed.
    `clock` is monotonic, in seconds.
    """

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._quiet_until_s: dict[Status, float] = {}
        self._not_logged: Counter[Status] = Counter()

    def note(self, order: Order, outcome: Outcome, error: BaseException) -> None:
        """Logs the failed attempt in one line, or counts it. If the error is unexpected, stack frames follow.

        Ignores attempts that do not count: see `DeliveryGate` for the log of pauses.
        """
        if not outcome.counts:
            return
        with self._lock:
            now_s = self._clock()
            if now_s < self._quiet_until_s.get(outcome.status, now_s):
                self._not_logged[outcome.status] += 1
                return
            self._quiet_until_s[outcome.status] = now_s + MIN_INTERVAL_S
        # `exc_info` would log the error's text, which can be very long and contain line breaks.
        frames = [] if is_expected(error) else traceback.format_tb(error.__traceback__, -MAX_FRAMES)
        _log.warning(
            "order %d: attempt %d failed, %s: %s%s",
            order.order_id,
            order.attempts,
            "the order is Failed" if outcome.status is Status.FAILED else "it will be retried",
            one_line(outcome.error or ""),
            "".join(["\n", *frames]).rstrip(),
        )

    def log_summary(self) -> None:
        """Logs how many attempts were only counted. Must be called about once a second, and once at the end."""
        with self._lock:
            not_logged, self._not_logged = self._not_logged, Counter()
        if not_logged:
            failed, retried = not_logged[Status.FAILED], not_logged[Status.PENDING]
            _log.warning("failed attempts not logged: %d orders are Failed, %d will be retried", failed, retried)
