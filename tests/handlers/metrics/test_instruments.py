"""The counters and histograms of a server."""

import pytest
from msgspec import structs
from msgspec.structs import replace

from handlers.metrics.histogram import Histogram
from handlers.metrics.instruments import AttemptOutcome, Instruments, IntakeOutcome
from models.errors import OrderConflictError, StorageUnavailableError, WrongStatusError
from models.order import Order, Status
from models.writes.attempts import ClaimedOrders, FinishAndClaim, Outcome
from models.writes.claimed_run import ClaimedRun
from models.writes.commands import Cancel, OrderIds, RetriedOrders, Retry, RetryOrders, RetrySelection, StatusChanged
from models.writes.insertion import Insertion, NewOrders
from models.writes.result import WriteResult
from models.writes.write import AnyWrite
from tests.models.samples import SECOND_US, Clock, claimed_order, new_order


@pytest.fixture
def instruments(clock: Clock) -> Instruments:
    return Instruments(clock=clock)


def stored(order_id: int, clock: Clock, *, age_us: int = 0, claims: int = 1) -> Order:
    return structs.replace(claimed_order(new_order(order_id), order_id, clock.now_us - age_us), claims=claims)


def count_batch(instruments: Instruments, *batch: tuple[AnyWrite, WriteResult | BaseException]) -> None:
    instruments.count_batch([item for item, _ in batch], [result for _, result in batch])


def intake_of(instruments: Instruments) -> dict[str, int]:
    """The outcomes with a count above 0."""
    return {str(outcome): count for outcome, count in instruments.intake.items() if count}


def count_of(histogram: Histogram) -> int:
    return histogram.buckets()[-1][1]


def test_all_bounds_are_in_ascending_order(instruments: Instruments) -> None:
    histograms = [each for each in vars(instruments).values() if isinstance(each, Histogram)]
    assert len(histograms) == 5
    for histogram in histograms:
        bounds = [bound for bound, _ in histogram.buckets()]
        assert bounds == sorted(set(bounds))


def test_new_orders_are_counted_by_outcome_and_by_commit(instruments: Instruments) -> None:
    count_batch(
        instruments,
        (new_order(1), Insertion.ACCEPTED),
        (new_order(1), Insertion.REPLAYED),
        (new_order(1, user_id=2), OrderConflictError(1)),
        (NewOrders([new_order(2), new_order(1)]), [Insertion.ACCEPTED, Insertion.REPLAYED]),
    )
    count_batch(instruments, (new_order(1), Insertion.REPLAYED))
    instruments.count_intake(IntakeOutcome.INVALID, 2)
    instruments.count_intake(IntakeOutcome.REFUSED)
    assert intake_of(instruments) == {"accepted": 2, "replayed": 3, "conflict": 1, "invalid": 2, "refused": 1}
    # The second batch contained no new order.
    assert (count_of(instruments.commit_orders), instruments.commit_orders.sum) == (1, 2)


def test_orders_of_a_failed_write_are_counted_as_refused(instruments: Instruments) -> None:
    error = StorageUnavailableError("full")
    count_batch(
        instruments,
        (new_order(1), error),
        (NewOrders([new_order(2), new_order(3)]), error),
        (FinishAndClaim([], 1), error),
    )
    assert intake_of(instruments) == {"refused": 3}
    assert count_of(instruments.commit_orders) == 0


def test_attempts_are_counted_by_outcome_when_it_is_stored(instruments: Instruments) -> None:
    write = FinishAndClaim(
        [
            Outcome(1, 1, Status.COMPLETED),
            Outcome(2, 1, Status.COMPLETED),
            Outcome(3, 1, Status.FAILED, "no stock"),
            Outcome(4, 1, Status.PENDING, "down", due_us=5),
            Outcome(5, 1, Status.PENDING),
            Outcome(6, 1, Status.PENDING, "busy", due_us=5, counts=False),
        ],
        0,
    )
    count_batch(instruments, (write, StorageUnavailableError("full")))
    assert set(instruments.attempts.values()) == {0}
    count_batch(instruments, (write, ClaimedOrders([])))
    assert instruments.attempts == {
        AttemptOutcome.COMPLETED: 2,
        AttemptOutcome.FAILED: 1,
        AttemptOutcome.RETRIED: 1,
        AttemptOutcome.REFUSED: 1,
        AttemptOutcome.GIVEN_BACK: 1,
    }


def test_attempts_whose_outcomes_were_rejected_are_not_counted(instruments: Instruments) -> None:
    write = FinishAndClaim([Outcome(1, 1, Status.COMPLETED), Outcome(1, 2, Status.FAILED, "no stock")], 0)
    count_batch(instruments, (write, ClaimedOrders([], rejected=frozenset({(1, 1)}))))
    counted = {outcome for outcome, count in instruments.attempts.items() if count}
    assert counted == {AttemptOutcome.FAILED}


def test_queue_wait_ends_with_the_first_attempt(instruments: Instruments, clock: Clock) -> None:
    waited = stored(1, clock, age_us=2 * SECOND_US)
    again = stored(2, clock, age_us=50 * SECOND_US, claims=2)
    together = [stored(order_id, clock, age_us=SECOND_US) for order_id in (3, 4)]
    count_batch(instruments, (FinishAndClaim([], 9), ClaimedOrders([waited, again, *together])))
    assert (count_of(instruments.queue_wait_s), instruments.queue_wait_s.sum) == (3, 2 + 1 + 1)


def test_the_orders_of_a_run_are_counted_like_other_orders(instruments: Instruments, clock: Clock) -> None:
    run = ClaimedRun([new_order(1), new_order(2)], 1, clock.now_us - 3 * SECOND_US)
    count_batch(instruments, (FinishAndClaim([], 9), ClaimedOrders(run)))
    assert (count_of(instruments.queue_wait_s), instruments.queue_wait_s.sum) == (2, 6)
    count_batch(instruments, (FinishAndClaim([], 9, completed=[run, run]), ClaimedOrders([])))
    assert instruments.attempts[AttemptOutcome.COMPLETED] == 4


def test_no_wait_is_negative_after_the_clock_is_set_back(instruments: Instruments, clock: Clock) -> None:
    count_batch(instruments, (FinishAndClaim([], 9), ClaimedOrders([stored(1, clock, age_us=-SECOND_US)])))
    assert (count_of(instruments.queue_wait_s), instruments.queue_wait_s.sum) == (1, 0)


def test_cancels_and_retries_are_counted_if_they_changed_an_order(instruments: Instruments, clock: Clock) -> None:
    failed = RetrySelection(status=Status.FAILED)
    cancelled, pending = [replace(stored(1, clock), status=each) for each in (Status.CANCELLED, Status.PENDING)]
    count_batch(
        instruments,
        (Cancel(1), StatusChanged(cancelled, Status.PENDING)),
        (Cancel(1), StatusChanged(cancelled, Status.CANCELLED)),
        (Cancel(2), WrongStatusError(2, status="Completed", needed="Pending")),
        (Cancel(3), None),
        (Retry(4), StatusChanged(pending, Status.FAILED)),
        (Retry(5), StatusChanged(pending, Status.PENDING)),
        (RetryOrders(failed, 9), RetriedOrders([OrderIds(6, 6, 1), OrderIds(7, 7, 1)], failed)),
        (RetryOrders(failed, 9), RetriedOrders([], None)),
    )
    assert (instruments.cancelled, instruments.requested_retries) == (1, 4)
    assert intake_of(instruments) == {}
