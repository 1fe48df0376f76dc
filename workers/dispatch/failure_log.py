"""Logs failed attempts, at a limited rate. Usable on any thread."""

import logging
import threading
import traceback
from collections import Counter
from collections.abc import Callable

from models.order import Order, Status
from models.writes.attempts import Outcome
from workers.error_text import is_expected, one_line
from workers.log_fields import attempt_fields

MIN_INTERVAL_S = 1.0
"""The minimum number of seconds between two log entries about Failed orders, and between two entries about orders to
retry."""
MAX_FRAMES = 20
"""The maximum number of stack frames in a log entry."""

_log = logging.getLogger(__name__)


class FailureLog:
    """Logs at most one failed attempt per `MIN_INTERVAL_S` seconds, and counts the other failed attempts.

    The limit applies separately to attempts that will be retried and to attempts after which the order is Failed.
    `clock` returns monotonic time in seconds.
    """

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._quiet_until_s: dict[Status, float] = {}
        self._not_logged: Counter[Status] = Counter()

    def note(self, order: Order, outcome: Outcome, error: BaseException) -> None:
        """Logs the failed attempt, or only counts it.

        The log entry has one line. If the error is not expected (`is_expected`), the stack frames follow. Ignores an
        attempt that does not count towards `--max-attempts`: the receiver of webhooks was busy, and `DeliveryGate` logs
        this.
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
            extra=attempt_fields(order),
        )

    def log_summary(self) -> None:
        """Logs how many attempts were counted but not logged. Must be called once a second, and at the end."""
        with self._lock:
            not_logged, self._not_logged = self._not_logged, Counter()
        if not_logged:
            failed, retried = not_logged[Status.FAILED], not_logged[Status.PENDING]
            _log.warning("failed attempts not logged: %d orders are Failed, %d will be retried", failed, retried)
