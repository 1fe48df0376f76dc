"""What the server notes about itself."""

import pytest
from msgspec import structs

from handlers.metrics.histogram import Histogram
from handlers.metrics.instruments import AttemptOutcome, IntakeOutcome, Measurements
from models.errors import OrderConflictError, StorageUnavailableError, WrongStatusError
from models.order import Order, Status
from models.writes import (
    Cancel,
    Claimed,
    Identity,
    Insertion,
    Moved,
    NewOrders,
    Outcome,
    Retried,
    Retry,
    RetryFailed,
    Turn,
    Write,
    Written,
)
from tests.models.samples import SECOND_US, Clock, new_order


@pytest.fixture
def measurements(clock: Clock) -> Measurements:
    return Measurements(clock=clock)


def stored(order_id: int, clock: Clock, *, age_us: int = 0, claims: int = 1) -> Order:
    return structs.replace(new_order(order_id).claimed(order_id, clock.now_us - age_us), claims=claims)


def note(measurements: Measurements, *batch: tuple[Write, Written | BaseException]) -> None:
    measurements.note_batch([item for item, _ in batch], [result for _, result in batch])


def intake_of(measurements: Measurements) -> dict[str, int]:
    """The outcomes that there were."""
    return {str(outcome): count for outcome, count in measurements.intake.items() if count}


def count_of(histogram: Histogram) -> int:
    return histogram.buckets()[-1][1]


def test_all_bounds_ascend(measurements: Measurements) -> None:
    histograms = [each for each in vars(measurements).values() if isinstance(each, Histogram)]
    assert len(histograms) == 5
    for histogram in histograms:
        bounds = [bound for bound, _ in histogram.buckets()]
        assert bounds == sorted(set(bounds))


def test_new_orders_are_counted_by_outcome_and_by_commit(measurements: Measurements) -> None:
    note(
        measurements,
        (new_order(1), Insertion.ACCEPTED),
        (new_order(1), Insertion.REPLAYED),
        (new_order(1, user_id=2), OrderConflictError(1)),
        (NewOrders([new_order(2), new_order(1)]), [Insertion.ACCEPTED, Insertion.REPLAYED]),
    )
    note(measurements, (new_order(1), Insertion.REPLAYED))
    measurements.note_intake(IntakeOutcome.INVALID, 2)
    measurements.note_intake(IntakeOutcome.REFUSED)
    assert intake_of(measurements) == {"accepted": 2, "replayed": 3, "conflict": 1, "invalid": 2, "refused": 1}
    # The second batch had nothing new.
    assert (count_of(measurements.commit_orders), measurements.commit_orders.sum) == (1, 2)


def test_orders_that_the_storage_did_not_take_are_refused(measurements: Measurements) -> None:
    error = StorageUnavailableError("full")
    note(measurements, (new_order(1), error), (NewOrders([new_order(2), new_order(3)]), error), (Turn([], 1), error))
    assert intake_of(measurements) == {"refused": 3}
    assert count_of(measurements.commit_orders) == 0


def test_attempts_are_counted_by_outcome_once_that_is_stored(measurements: Measurements) -> None:
    turn = Turn(
        [
            Outcome(1, 1, Status.COMPLETED),
            Outcome(2, 1, Status.COMPLETED),
            Outcome(3, 1, Status.FAILED, "no stock"),
            Outcome(4, 1, Status.PENDING, "down", due_us=5),
            Outcome(5, 1, Status.PENDING),
        ],
        0,
    )
    note(measurements, (turn, StorageUnavailableError("full")))
    assert set(measurements.attempts.values()) == {0}
    note(measurements, (turn, Claimed([])))
    assert measurements.attempts == {
        AttemptOutcome.COMPLETED: 2,
        AttemptOutcome.FAILED: 1,
        AttemptOutcome.RETRIED: 1,
        AttemptOutcome.GIVEN_BACK: 1,
    }


def test_an_order_waits_until_its_first_attempt_alone(measurements: Measurements, clock: Clock) -> None:
    waited = stored(1, clock, age_us=2 * SECOND_US)
    again = stored(2, clock, age_us=50 * SECOND_US, claims=2)
    together = [stored(order_id, clock, age_us=SECOND_US) for order_id in (3, 4)]
    note(measurements, (Turn([], 9), Claimed([waited, again, *together])))
    assert (count_of(measurements.queue_wait_s), measurements.queue_wait_s.sum) == (3, 2 + 1 + 1)


def test_a_clock_that_is_set_back_makes_no_wait_shorter_than_nothing(measurements: Measurements, clock: Clock) -> None:
    note(measurements, (Turn([], 9), Claimed([stored(1, clock, age_us=-SECOND_US)])))
    assert (count_of(measurements.queue_wait_s), measurements.queue_wait_s.sum) == (1, 0)


def test_what_persons_asked_for_is_counted_where_it_changed_something(measurements: Measurements, clock: Clock) -> None:
    order = stored(1, clock)
    note(
        measurements,
        (Cancel(1), Moved(order, Status.PENDING)),
        (Cancel(1), Moved(order, Status.CANCELLED)),
        (Cancel(2), WrongStatusError(2, status="Completed", needed="Pending")),
        (Cancel(3), None),
        (Retry(4), Moved(order, Status.FAILED)),
        (RetryFailed(0, 9), Retried([Identity(5, 5, 1), Identity(6, 6, 1)], 6)),
        (RetryFailed(6, 9), Retried([], 6)),
    )
    assert (measurements.cancelled, measurements.retried_by_hand) == (1, 3)
    assert intake_of(measurements) == {}
