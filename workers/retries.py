"""What becomes of an order when an attempt at it did not succeed: tried again, and when, or Failed.

Belongs to no thread: safe on any.
"""

from collections.abc import Callable
from typing import TypeGuard

from models.order import Attempt, Status
from models.writes import Outcome
from workers.backoff import Backoff
from workers.processors.outcomes import MAX_DELAY_S, NotDeliveredError, Rejected, RetryLater

MAX_ERROR_CHARACTERS = 1_000
CUT_OFF = "the process ended during the attempt"

_MICROSECONDS = 1_000_000


class RetryPolicy:
    """RetryPolicy with exponential delays, up to `max_attempts`. `clock` returns microseconds since 1970, UTC."""

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
        return self._outcome(attempt, text_of(error), is_last=isinstance(error, Rejected), delay_s=delay_s)

    def after_crash(self, attempt: Attempt) -> Outcome:
        """The outcome of an attempt that the end of the process cut off; it counts like any other."""
        return self._outcome(attempt, CUT_OFF, is_last=False, delay_s=self._backoff.delay_s(attempt.number))

    def _outcome(self, attempt: Attempt, error: str, *, is_last: bool, delay_s: float) -> Outcome:
        if is_last or attempt.number >= self._max_attempts:
            return Outcome(attempt.sequence, attempt.claim, Status.FAILED, error)
        due_us = self._clock() + round(delay_s * _MICROSECONDS)
        return Outcome(attempt.sequence, attempt.claim, Status.PENDING, error, due_us)


def _is_delay(delay_s: object) -> TypeGuard[float]:
    """Whether it is one: a subclass may set what it likes, and no error may keep its attempt from ending."""
    return isinstance(delay_s, int | float) and 0 <= delay_s <= MAX_DELAY_S


def text_of(error: BaseException) -> str:
    """What is kept of an error, at most `MAX_ERROR_CHARACTERS`: its reason alone where it is a processor's answer."""
    try:
        text = str(error).strip()
    except Exception:  # noqa: BLE001 - a user's own exception may do anything here
        text = ""
    if not text or not is_answer(error):
        name = type(error).__name__
        text = f"{name}: {text}" if text else name
    return text[:MAX_ERROR_CHARACTERS]


def one_line(text: str) -> str:
    """The text with nothing in it that could be taken for another line, or that a terminal would obey."""
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def is_answer(error: BaseException) -> bool:
    """Whether a processor raised the error to say what is to become of the order; any other one is a surprise."""
    # By its type: what an object says of its class may raise, too.
    return issubclass(type(error), Rejected | RetryLater | NotDeliveredError)
