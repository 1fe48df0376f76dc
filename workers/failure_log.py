"""What the log says of attempts that fail. Safe on any thread."""

import logging
import threading
from collections.abc import Callable

from models.order import Order, Status
from models.writes import Outcome
from workers.retries import is_answer

QUIET_S = 1.0

_log = logging.getLogger(__name__)


class FailureLog:
    """Logs failed attempts, at most one in `QUIET_S` seconds however many fail. `clock` is monotonic, in seconds."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._quiet_until_s = 0.0
        self._left_out = 0

    def note(self, order: Order, outcome: Outcome, error: BaseException) -> None:
        """Says what happened, with a traceback where the error is a surprise, and how many were left out before."""
        with self._lock:
            now_s = self._clock()
            if now_s < self._quiet_until_s:
                self._left_out += 1
                return
            self._quiet_until_s = now_s + QUIET_S
            left_out, self._left_out = self._left_out, 0
        _log.warning(
            "order %d, attempt %d, is %s: %s%s",
            order.order_id,
            order.attempts,
            "Failed" if outcome.status is Status.FAILED else "to be tried again",
            outcome.error,
            f" ({left_out} failed attempts before it are not shown)" if left_out else "",
            exc_info=None if is_answer(error) else error,
        )
