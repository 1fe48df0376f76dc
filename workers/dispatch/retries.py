"""Decides whether an order is retried after a failed attempt, and when it is retried. Usable on any thread."""

from typing import TypeGuard

from models.clock import Clock
from models.order import Attempt, Ending, Order, Status
from models.writes.attempts import Outcome
from workers.backoff import Backoff
from workers.error_text import text_of
from workers.processors.outcomes import (
    MAX_DELAY_S,
    NoResultError,
    NotDeliveredError,
    NotSentError,
    ReceiverBusyError,
    Rejected,
    RetryLater,
)

INTERRUPTED = "the process ended during the attempt"
"""The error that is stored for an attempt that a crash interrupted."""

MAX_BUSY_US = 86_400 * 1_000_000
"""The number of microseconds after the acceptance of an order in which an attempt does not count towards
`--max-attempts` if the receiver of webhooks is busy."""
MIN_EXTRA_DELAY_S = 1.0
MAX_EXTRA_DELAY_S = 60.0
"""If a busy receiver refuses an order again, the order waits until some time after the pause of deliveries. This extra
delay is as long as the pause, but at least `MIN_EXTRA_DELAY_S` and at most `MAX_EXTRA_DELAY_S`."""

_MICROSECONDS = 1_000_000
LONGEST_DELAY_US = MAX_DELAY_S * _MICROSECONDS
"""The longest delay until a retry, in microseconds."""


class RetryPolicy:
    """Retries an order until `max_attempts` attempts have failed. `backoff` sets the delays between attempts."""

    def __init__(self, *, max_attempts: int, backoff: Backoff, clock: Clock) -> None:
        self._max_attempts = max_attempts
        self._backoff = backoff
        self._clock = clock

    def after(self, order: Order, error: BaseException) -> Outcome:
        """The outcome of the latest attempt at this order. The attempt ended with `error`."""
        attempt = order.attempt
        if isinstance(error, NotSentError):
            return Outcome(attempt.sequence, attempt.claim, Status.PENDING, counts=False)
        if isinstance(error, ReceiverBusyError) and self._age_us(order) < MAX_BUSY_US:
            return self._after_busy(order, error)
        delay_s = self._backoff.delay_s(attempt.number)
        if isinstance(error, RetryLater) and _is_delay(error.delay_s):
            delay_s = error.delay_s
        elif isinstance(error, NotDeliveredError):
            delay_s = max(delay_s, error.retry_after_s)
        return self._outcome(attempt, text_of(error), _ending_of(error), delay_s=delay_s)

    def after_crash(self, attempt: Attempt) -> Outcome:
        """The outcome of an attempt that a crash interrupted. The attempt counts towards `max_attempts`."""
        return self._outcome(attempt, INTERRUPTED, Ending.INTERRUPTED, delay_s=self._backoff.delay_s(attempt.number))

    def _age_us(self, order: Order) -> int:
        return self._clock() - self._clock.accepted_us(order.sequence, order.created_us)

    def _after_busy(self, order: Order, error: ReceiverBusyError) -> Outcome:
        """The outcome of an attempt that does not count towards `max_attempts`, because the receiver was busy."""
        delay_s = error.retry_after_s
        # `claims` counts all attempts. If it is higher than `attempts`, an earlier attempt did not count: the receiver
        # has probably refused this order before. Other orders go first, in case the receiver refuses only this order.
        if order.claims > order.attempts:
            delay_s += min(max(delay_s, MIN_EXTRA_DELAY_S), MAX_EXTRA_DELAY_S)
        due_us = self._clock() + round(delay_s * _MICROSECONDS)
        return Outcome(order.sequence, order.claims, Status.PENDING, text_of(error), due_us, counts=False)

    def _outcome(self, attempt: Attempt, error: str, ending: Ending, *, delay_s: float) -> Outcome:
        if ending is Ending.REJECTED or attempt.number >= self._max_attempts:
            return Outcome(attempt.sequence, attempt.claim, Status.FAILED, error, None, ending)
        due_us = self._clock() + round(delay_s * _MICROSECONDS)
        return Outcome(attempt.sequence, attempt.claim, Status.PENDING, error, due_us, ending)


def _ending_of(error: BaseException) -> Ending:
    match error:
        case Rejected():
            return Ending.REJECTED
        case NoResultError():
            return Ending.TIMED_OUT
    return Ending.FAILED


def _is_delay(delay_s: object) -> TypeGuard[float]:
    """Whether the value is a valid delay. A user's subclass of RetryLater can have set any value."""
    return isinstance(delay_s, int | float) and 0 <= delay_s <= MAX_DELAY_S
