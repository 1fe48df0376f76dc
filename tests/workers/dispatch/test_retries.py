"""The outcome of a failed attempt, and the stored text of its error."""

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from models.order import Attempt, Ending, Order, Status
from models.writes.attempts import Outcome
from tests.cases import cases
from tests.models.samples import SECOND_US, Clock
from workers.backoff import Backoff
from workers.dispatch.retries import INTERRUPTED, MAX_BUSY_US, MAX_EXTRA_DELAY_S, RetryPolicy
from workers.error_text import MAX_ERROR_CHARACTERS, is_expected, text_of
from workers.processors.outcomes import (
    MAX_DELAY_S,
    NoResultError,
    NotDeliveredError,
    NotSentError,
    ReceiverBusyError,
    Rejected,
    RetryLater,
)

HOUR_S = 3_600
NOW_US = 1_740_830_400 * SECOND_US


def policy(*, max_attempts: int = 10, jitter: float = 0.5, now_us: int = NOW_US) -> RetryPolicy:
    backoff = Backoff(first_s=1.0, max_s=HOUR_S, jitter=lambda: jitter)
    return RetryPolicy(max_attempts=max_attempts, backoff=backoff, clock=Clock(now_us))


def attempt(number: int = 1) -> Attempt:
    return Attempt(sequence=5, claim=number + 20, number=number)


def claimed(number: int = 1, *, refusals: int = 20, created_us: int = 0) -> Order:
    """An order that is Processing. Its claim number is `number + refusals`."""
    return Order(5, 7, 1, [1], 1, None, Status.PROCESSING, number, number + refusals, None, created_us, None)


def delay_us(outcome: Outcome) -> int:
    """The delay of an order that will be retried."""
    assert outcome.status is Status.PENDING
    assert outcome.due_us is not None
    return outcome.due_us - NOW_US


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


# Delays


def test_delays_double_from_a_second_to_an_hour() -> None:
    outcomes = [policy(max_attempts=99).after(claimed(number), ValueError("x")) for number in range(1, 16)]
    assert [delay_us(outcome) / SECOND_US for outcome in outcomes] == [min(2**n, HOUR_S) for n in range(15)]


@cases(("jitter", "factor"), [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
def test_delays_have_a_jitter_of_20_percent(jitter: float, factor: float) -> None:
    outcome = policy(jitter=jitter).after(claimed(4), ValueError("x"))
    assert delay_us(outcome) == pytest.approx(8 * factor * SECOND_US, abs=1)


@given(
    number=st.integers(1, 10**6),
    jitter=st.floats(0, 1, exclude_max=True),
    now_us=st.integers(0, 2**53),
    error=st.one_of(
        st.builds(ValueError, st.text()),
        st.builds(NotDeliveredError, st.text(), retry_after_s=st.floats(0, 86_400)),
        st.builds(RetryLater, st.floats(0, MAX_DELAY_S), st.text()),
    ),
)
def test_the_delay_is_within_the_bounds_for_its_error(
    number: int, jitter: float, now_us: int, error: Exception
) -> None:
    outcome = policy(max_attempts=number + 1, jitter=jitter, now_us=now_us).after(claimed(number), error)
    assert outcome.status is Status.PENDING
    assert isinstance(outcome.due_us, int)
    wait_s = (outcome.due_us - now_us) / SECOND_US
    nominal_s = min(2 ** min(number - 1, 20), HOUR_S)
    min_s, max_s = 0.8 * nominal_s, min(1.2 * nominal_s, HOUR_S)
    if isinstance(error, RetryLater):
        assert error.delay_s is not None
        min_s = max_s = error.delay_s
    elif isinstance(error, NotDeliveredError):
        min_s, max_s = max(min_s, error.retry_after_s), max(max_s, error.retry_after_s)
    assert min_s - 1e-6 <= wait_s <= max_s + 1e-6


@cases("seconds", [0, 0.25, 1, 7_200.5, MAX_DELAY_S, Decimal("1.5")])
def test_the_delay_of_retry_later_is_exact(seconds: float) -> None:
    for jitter in (0.0, 0.9):
        outcome = policy(jitter=jitter).after(claimed(9), RetryLater(seconds))
        assert delay_us(outcome) == seconds * SECOND_US


@cases(("number", "retry_after_s", "delay_s"), [(1, 120, 120), (3, 4, 4), (8, 120, 128), (1, -5, 1)])
def test_retry_after_is_the_minimum_delay(number: int, retry_after_s: float, delay_s: int) -> None:
    outcome = policy().after(claimed(number), NotDeliveredError("503", retry_after_s=retry_after_s))
    assert delay_us(outcome) == delay_s * SECOND_US


def test_retry_after_can_exceed_the_maximum_backoff() -> None:
    assert delay_us(policy().after(claimed(), NotDeliveredError("503", retry_after_s=86_400))) == 86_400 * SECOND_US


# The number of attempts


@cases("error", [ValueError("x"), RetryLater(5, "x"), NotDeliveredError("x", retry_after_s=5)])
def test_after_the_last_attempt_the_order_is_failed_with_its_last_error(error: Exception) -> None:
    assert policy(max_attempts=3).after(claimed(2), error).status is Status.PENDING
    for number in (3, 4):
        outcome = policy(max_attempts=3).after(claimed(number), error)
        assert outcome == Outcome(5, number + 20, Status.FAILED, text_of(error), ending=Ending.FAILED)


def test_with_one_attempt_there_is_no_retry() -> None:
    assert policy(max_attempts=1).after(claimed(), ValueError("x")).status is Status.FAILED


def test_a_rejected_order_is_failed_after_its_first_attempt() -> None:
    assert policy().after(claimed(), Rejected("sold out")) == Outcome(
        5, 21, Status.FAILED, "sold out", ending=Ending.REJECTED
    )


@cases("error", [KeyboardInterrupt(), SystemExit(1), GeneratorExit(), MemoryError(), RecursionError()])
def test_any_other_exception_is_retried(error: BaseException) -> None:
    assert policy().after(claimed(), error).status is Status.PENDING


def test_an_outcome_has_the_sequence_and_claim_of_its_attempt() -> None:
    outcome = policy().after(replace(claimed(), sequence=12, claims=34), ValueError("x"))
    assert (outcome.sequence, outcome.claim) == (12, 34)


def test_a_crash_is_retried_with_the_usual_delay() -> None:
    outcome = policy().after_crash(attempt(3))
    assert (outcome.sequence, outcome.claim, outcome.error) == (5, 23, INTERRUPTED)
    assert delay_us(outcome) == 4 * SECOND_US


def test_a_crash_counts_as_an_attempt() -> None:
    assert policy(max_attempts=3).after_crash(attempt(2)).status is Status.PENDING
    assert policy(max_attempts=3).after_crash(attempt(3)) == Outcome(
        5, 23, Status.FAILED, INTERRUPTED, ending=Ending.INTERRUPTED
    )


# Attempts that do not count


@cases("number", [1, 3, 4, 1_000_000])
def test_a_refused_attempt_does_not_count_for_a_day_and_waits_as_long_as_the_pause(number: int) -> None:
    order = claimed(number, refusals=0, created_us=NOW_US - MAX_BUSY_US + 1)
    outcome = policy(max_attempts=3).after(order, ReceiverBusyError("the receiver answered 429", retry_after_s=2.5))
    due_us = NOW_US + 2_500_000
    assert outcome == Outcome(5, number, Status.PENDING, "the receiver answered 429", due_us, counts=False)


@cases(("pause_s", "delay_s"), [(0.01, 1.01), (1.0, 2.0), (7.0, 14.0), (3_600.0, 3_600.0 + MAX_EXTRA_DELAY_S)])
def test_an_order_that_is_refused_again_waits_longer_so_that_others_go_first(pause_s: float, delay_s: float) -> None:
    order = claimed(2, refusals=1, created_us=NOW_US)
    assert delay_us(policy().after(order, ReceiverBusyError("429", retry_after_s=pause_s))) == delay_s * SECOND_US


@pytest.mark.parametrize("step_us", [-2 * MAX_BUSY_US, 2 * MAX_BUSY_US])
def test_a_step_of_the_wall_clock_changes_no_age(step_us: int) -> None:
    clock = Clock(NOW_US)
    clock.record_step(step_us, last_sequence=0)
    decides = RetryPolicy(max_attempts=10, backoff=Backoff(first_s=1, max_s=1), clock=clock)
    error = ReceiverBusyError("429", retry_after_s=20)
    for age_us, counts in ((MAX_BUSY_US - 1, False), (MAX_BUSY_US, True)):
        order = claimed(1, created_us=NOW_US + step_us - age_us)
        assert decides.after(order, error).counts is counts


def test_after_a_day_a_refused_attempt_counts() -> None:
    error = ReceiverBusyError("429", retry_after_s=20)
    outcomes = [
        policy(max_attempts=8).after(claimed(number, created_us=NOW_US - MAX_BUSY_US), error) for number in (1, 7, 8)
    ]
    assert [outcome.counts for outcome in outcomes] == [True] * 3
    assert [delay_us(outcome) for outcome in outcomes[:2]] == [20 * SECOND_US, 64 * SECOND_US]
    assert outcomes[2] == Outcome(5, 28, Status.FAILED, "429", ending=Ending.FAILED)


def test_an_order_that_was_not_sent_goes_back_unchanged() -> None:
    assert policy(max_attempts=1).after(claimed(9), NotSentError()) == Outcome(5, 29, Status.PENDING, counts=False)


# Error texts


@cases(
    ("error", "text"),
    [
        (Rejected("sold out"), "sold out"),
        (RetryLater(5, "busy"), "busy"),
        (NotDeliveredError("no answer"), "no answer"),
        (ValueError("sold out"), "ValueError: sold out"),
        (KeyError("sku"), "KeyError: 'sku'"),
        (ValueError(), "ValueError"),
        (ValueError(""), "ValueError"),
        (ValueError("  two\nlines \n"), "ValueError: two\nlines"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (OSError(28, "No space left on device"), "OSError: [Errno 28] No space left on device"),
        (ExceptionGroup("both", [ValueError("a"), KeyError("b")]), "ExceptionGroup: both (2 sub-exceptions)"),
        (SyntaxError("broken", ("shop.py", 3, 1, "x = (", 3, 5)), "SyntaxError: broken (shop.py, line 3)"),
    ],
)
def test_the_text_of_an_unexpected_error_begins_with_its_type(error: BaseException, text: str) -> None:
    assert text_of(error) == text
    outcome = policy().after(claimed(), error)
    assert outcome.error == text


def test_the_text_of_an_error_whose_str_raises_is_its_type() -> None:
    assert text_of(Mute()) == "Mute"
    assert policy().after(claimed(), Mute()).status is Status.PENDING


def test_the_text_of_an_error_does_not_contain_its_cause() -> None:
    error = ValueError("outer")
    error.__cause__ = KeyError("inner")
    assert text_of(error) == "ValueError: outer"


@cases("kind", [Rejected, NotDeliveredError, ValueError])
def test_a_long_text_is_truncated(kind: type[Exception]) -> None:
    text = text_of(kind("ü" * 1_000_000))
    assert len(text) == MAX_ERROR_CHARACTERS
    assert text.endswith("üüü")
    outcome = policy().after(claimed(), kind("ü" * 1_000_000))
    assert outcome.error == text


def test_only_exceptions_that_report_an_outcome_are_expected() -> None:
    class SoldOut(Rejected):
        pass

    expected = [Rejected(), SoldOut("no"), RetryLater(0), NotDeliveredError("x"), NoResultError(1)]
    assert all(is_expected(error) for error in expected)
    assert not any(is_expected(error) for error in (ValueError("x"), TimeoutError(), KeyboardInterrupt(), Mute()))
    assert policy().after(claimed(), SoldOut("no")) == Outcome(5, 21, Status.FAILED, "no", ending=Ending.REJECTED)


# Exceptions of a user's function


@cases(("reason", "text"), [(42, "42"), (None, "None"), (["a", "b"], "['a', 'b']"), (b"x", "b'x'")])
def test_a_reason_can_be_any_object(reason: object, text: str) -> None:
    assert text_of(Rejected(reason)) == text
    assert text_of(RetryLater(1, reason)) == text


def test_without_a_reason_the_text_has_a_default() -> None:
    assert text_of(Rejected()) == "rejected"
    assert text_of(RetryLater(90)) == "to be tried again in 90 s"
    assert text_of(RetryLater(0.5)) == "to be tried again in 0.5 s"


@cases("seconds", [-1, -1e-9, math.nan, math.inf, -math.inf, MAX_DELAY_S + 1, 1e300])
def test_retry_later_rejects_an_invalid_delay(seconds: float) -> None:
    with pytest.raises(ValueError, match=r"^RetryLater takes from 0 to 31622400 seconds, not "):
        RetryLater(seconds)


@cases("delay_s", [float("inf"), float("nan"), "5", -1.0, 1e20, None])
def test_an_invalid_delay_in_a_subclass_is_ignored(delay_s: Any) -> None:
    class Never(RetryLater):
        def __init__(self) -> None:
            self.delay_s = delay_s

    assert delay_us(policy().after(claimed(2), Never())) == 2 * SECOND_US


@cases(
    ("error", "ending"),
    [
        (Rejected("no"), Ending.REJECTED),
        (NoResultError(5), Ending.TIMED_OUT),
        (RetryLater(5), Ending.FAILED),
        (NotDeliveredError("no"), Ending.FAILED),
        (TimeoutError(), Ending.FAILED),
    ],
)
def test_the_outcome_says_how_the_attempt_ended(error: Exception, ending: Ending) -> None:
    assert policy().after(claimed(), error).ending is ending
