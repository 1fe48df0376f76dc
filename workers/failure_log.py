"""What the log says of attempts that fail. Safe on any thread."""

import logging
import threading
import traceback
from collections import Counter
from collections.abc import Callable

from models.order import Order, Status
from models.writes import Outcome
from workers.retries import is_answer, one_line

QUIET_S = 1.0
MAX_FRAMES = 20

_log = logging.getLogger(__name__)


class FailureLog:
    """Logs failed attempts: of those that are the last and of those that are not, one each in `QUIET_S` seconds.

    `clock` is monotonic, in seconds.
    """

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._quiet_until_s: dict[Status, float] = {}
        self._left_out: Counter[Status] = Counter()

    def note(self, order: Order, outcome: Outcome, error: BaseException) -> None:
        """Says what happened in a line, with where it was raised where the error is a surprise, or counts it."""
        with self._lock:
            now_s = self._clock()
            if now_s < self._quiet_until_s.get(outcome.status, now_s):
                self._left_out[outcome.status] += 1
                return
            self._quiet_until_s[outcome.status] = now_s + QUIET_S
        # The error itself may be of any size and hold anything, so it is not left to the log's formatter.
        frames = [] if is_answer(error) else traceback.format_tb(error.__traceback__, -MAX_FRAMES)
        _log.warning(
            "order %d, attempt %d, is %s: %s%s",
            order.order_id,
            order.attempts,
            "Failed" if outcome.status is Status.FAILED else "to be tried again",
            one_line(outcome.error or ""),
            "".join(["\n", *frames]).rstrip(),
        )

    def log_summary(self) -> None:
        """Says how many have been counted only; to be called about once a second, and at the end."""
        with self._lock:
            left_out, self._left_out = self._left_out, Counter()
        if left_out:
            failed, retried = left_out[Status.FAILED], left_out[Status.PENDING]
            _log.warning("besides, orders that are Failed: %d, that are to be tried again: %d", failed, retried)
