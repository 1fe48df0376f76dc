"""Decides, after a failed attempt, whether the order is Failed or when it is retried. Usable on any thread."""

from collections.abc import Callable
from typing import TypeGuard

from models.order import Attempt, Ending, Status
from models.writes import Outcome
from workers.backoff import Backoff
from workers.error_text import text_of
from workers.processors.outcomes import MAX_DELAY_S, NoResultError, NotDeliveredError, Rejected, RetryLater

INTERRUPTED = "the process ended during the attempt"
"""The error that is stored for an attempt that a crash interrupted."""

_MICROSECONDS = 1_000_000


class RetryPolicy:
    """Allows `max_attempts` attempts; `backoff` sets the delays. `clock` returns microseconds since 1970, UTC."""

    def __init__(self, *, max_attempts: int, backoff: Backoff, clock: Callable[[], int]) -> None:
        self._max_attempts = max_attempts
        self._backoff = backoff
        self._clock = clock

    def after(self, attempt: Attempt, error: BaseException) -> Outcome:
        """The outcome of an attempt that ended with `error`."""
        delay_s = self._backoff.delay_s(attempt.number)
        if isinstance(error, RetryLater) and _is_delay(error.delay_s):
            delay_s = error.delay_s
        elif isinstance(error, NotDeliveredError):
            delay_s = max(delay_s, error.retry_after_s)
        return self._outcome(attempt, text_of(error), _ending_of(error), delay_s=delay_s)

    def after_crash(self, attempt: Attempt) -> Outcome:
        """The outcome of an attempt that a crash of the process interrupted. The attempt counts."""
        return self._outcome(attempt, INTERRUPTED, Ending.INTERRUPTED, delay_s=self._backoff.delay_s(attempt.number))

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
