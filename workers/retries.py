"""What becomes of an order when an attempt at it did not succeed: tried again, and when, or Failed.

Belongs to no thread: safe on any.
"""

import traceback
from collections.abc import Callable

from models.order import Attempt, Outcome, Status
from workers.backoff import Backoff
from workers.processors import LONGEST_DELAY_S, NotDeliveredError, Rejected, RetryLater

MAX_ERROR_CHARACTERS = 1_000
CUT_OFF = "the process ended during the attempt"

_MICROSECONDS = 1_000_000


class Retries:
    """Retries with exponential delays, up to `max_attempts`. `clock` returns microseconds since 1970, UTC."""

    def __init__(self, *, max_attempts: int, backoff: Backoff, clock: Callable[[], int]) -> None:
        self._max_attempts = max_attempts
        self._backoff = backoff
        self._clock = clock

    def after(self, attempt: Attempt, error: BaseException) -> Outcome:
        """The outcome of an attempt that ended with `error`."""
        delay_s = self._backoff.delay_s(attempt.number)
        if isinstance(error, RetryLater):
            delay_s = _as_asked(error.delay_s, otherwise_s=delay_s)
        elif isinstance(error, NotDeliveredError):
            delay_s = max(delay_s, _as_asked(error.retry_after_s, otherwise_s=0.0))
        return self._outcome(attempt, text_of(error), is_last=isinstance(error, Rejected), delay_s=delay_s)

    def after_crash(self, attempt: Attempt) -> Outcome:
        """The outcome of an attempt that the end of the process cut off; it counts like any other."""
        return self._outcome(attempt, CUT_OFF, is_last=False, delay_s=self._backoff.delay_s(attempt.number))

    def _outcome(self, attempt: Attempt, error: str, *, is_last: bool, delay_s: float) -> Outcome:
        if is_last or attempt.number >= self._max_attempts:
            return Outcome(attempt.sequence, attempt.claim, Status.FAILED, error)
        due_us = self._clock() + round(delay_s * _MICROSECONDS)
        return Outcome(attempt.sequence, attempt.claim, Status.PENDING, error, due_us)


def _as_asked(delay_s: object, *, otherwise_s: float) -> float:
    """What a processor asked for, or the other where that is no delay: no error may keep its attempt from ending."""
    return delay_s if isinstance(delay_s, int | float) and 0 <= delay_s <= LONGEST_DELAY_S else otherwise_s


def text_of(error: BaseException) -> str:
    """What is kept of an error, at most `MAX_ERROR_CHARACTERS`: its reason where it is a processor's answer."""
    # It knows what to do with an error whose text can't be had.
    formatted = traceback.TracebackException(type(error), error, None)
    formatted.__notes__ = None
    *_, text = formatted.format_exception_only()
    if is_answer(error):
        name, _, reason = text.partition(": ")
        text = reason or name
    return text.strip()[:MAX_ERROR_CHARACTERS]


def is_answer(error: BaseException) -> bool:
    """Whether a processor raised the error to say what is to become of the order; any other one is a surprise."""
    return isinstance(error, Rejected | RetryLater | NotDeliveredError)
