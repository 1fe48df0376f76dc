"""Counters and histograms of this process.

Used on the event loop, except for two histograms: worker threads write to `processing_s`, and the writer thread writes
to `commit_s`.
"""

import enum
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from handlers.metrics.histogram import Histogram
from models.clock import Clock
from models.errors import OrderConflictError
from models.order import Status
from models.writes.attempts import ClaimedOrders, FinishAndClaim
from models.writes.claimed_run import ClaimedRun
from models.writes.commands import RetriedOrders, StatusChanged
from models.writes.insertion import Insertion, NewOrder, NewOrders
from models.writes.result import WriteResult
from models.writes.write import AnyWrite

_MICROSECONDS = 1_000_000
_END = attrgetter("status", "due_us", "counts")
_CREATED = attrgetter("created_us")

_REQUEST_BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_WAIT_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 7_200)
_ATTEMPT_BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60, 300)
_ORDER_BOUNDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000)


class IntakeOutcome(enum.StrEnum):
    """The outcome of an order that a client sent, alone or in bulk."""

    ACCEPTED = "accepted"
    REPLAYED = "replayed"
    CONFLICT = "conflict"
    INVALID = "invalid"
    REFUSED = "refused"
    """A valid order that could not be stored: too many orders were waiting or Pending, or the storage failed."""


class AttemptOutcome(enum.StrEnum):
    """How an attempt to process an order ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    RETRIED = "retried"
    """The order will be attempted again later."""
    REFUSED = "refused"
    """The receiver of the webhook is busy. The attempt does not count, and the order will be attempted again."""
    GIVEN_BACK = "given_back"
    """The server stopped during the attempt, or webhook deliveries were paused before the attempt."""


COUNTED_FROM_START = (200, 202, 422, 500, 503)
"""Common statuses, which have a count from the start. If the count of a status appeared only with its first response,
Prometheus would not see that the count has increased."""


class Instruments:
    """Durations, sizes and counts since the start.

    `count_batch` fills `queue_wait_s` and `commit_orders`. Callers fill the other histograms with `Histogram.observe`.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self.ack_s = Histogram(_REQUEST_BOUNDS_S)
        """Seconds from receiving a complete `POST /order` to sending its 202."""
        self.queue_wait_s = Histogram(_WAIT_BOUNDS_S)
        """Seconds from an order's acceptance to its first attempt."""
        self.processing_s = Histogram(_ATTEMPT_BOUNDS_S)
        """Seconds that a call of the processor takes, counted once for each order that the call processes.

        Written by worker threads, one at a time.
        """
        self.commit_s = Histogram(_REQUEST_BOUNDS_S)
        """Seconds from the first statement of a batch of writes to its sync to disk or its failure.

        Written by the writer thread.
        """
        self.commit_orders = Histogram(_ORDER_BOUNDS)
        """Number of new orders in each commit with new orders."""
        self.intake = dict.fromkeys(IntakeOutcome, 0)
        self.responses: Counter[int] = Counter(dict.fromkeys(COUNTED_FROM_START, 0))
        """How many HTTP responses had each status."""
        self.attempts = dict.fromkeys(AttemptOutcome, 0)
        self.busy_workers = 0
        self.overdue_attempts = 0
        self.cancelled = 0
        self.requested_retries = 0
        self.deliveries_paused = False
        self.delivery_pauses: Mapping[str, int] = {}
        """Number of pauses of webhook deliveries, by reason. Empty if the processor does not send webhooks."""

    def count_intake(self, outcome: IntakeOutcome, count: int = 1) -> None:
        """Counts orders that are never in a batch: INVALID orders, and orders REFUSED by a full or closed queue."""
        self.intake[outcome] += count

    def count_batch(self, items: Sequence[AnyWrite], results: Sequence[WriteResult | BaseException]) -> None:
        """Counts the results of one batch of writes. Called once for each batch, with one result for each item."""
        accepted_before = self.intake[IntakeOutcome.ACCEPTED]
        accepted_alone = 0
        for item, result in zip(items, results, strict=True):
            if result is Insertion.ACCEPTED:
                accepted_alone += 1
            elif isinstance(item, NewOrder):
                self._count_insertion(result)
            elif isinstance(item, NewOrders):
                self._count_group(result if isinstance(result, list) else [result] * len(item.orders))
            elif isinstance(item, FinishAndClaim) and isinstance(result, ClaimedOrders):
                self._count_attempts(item, result)
            elif isinstance(result, StatusChanged):
                status = result.order.status
                # An order that was already Cancelled has not changed.
                self.cancelled += status is Status.CANCELLED and result.previous_status is not status
                self.requested_retries += status is Status.PENDING
            elif isinstance(result, RetriedOrders):
                self.requested_retries += len(result.orders)
        self.intake[IntakeOutcome.ACCEPTED] += accepted_alone
        if accepted := self.intake[IntakeOutcome.ACCEPTED] - accepted_before:
            self.commit_orders.observe(accepted)

    def _count_group(self, results: list[Any]) -> None:
        accepted = results.count(Insertion.ACCEPTED)
        self.intake[IntakeOutcome.ACCEPTED] += accepted
        if accepted < len(results):
            for result in results:
                if result is not Insertion.ACCEPTED:
                    self._count_insertion(result)

    def _count_insertion(self, result: object) -> None:
        if result is Insertion.REPLAYED:
            self.intake[IntakeOutcome.REPLAYED] += 1
        elif isinstance(result, OrderConflictError):
            self.intake[IntakeOutcome.CONFLICT] += 1
        else:
            self.intake[IntakeOutcome.REFUSED] += 1

    def _count_attempts(self, write: FinishAndClaim, claimed: ClaimedOrders) -> None:
        for (status, due_us, counts), group in groupby(write.recorded(claimed), _END):
            self.attempts[_outcome_of(status, due_us, counts=counts)] += len(list(group))
        self.attempts[AttemptOutcome.COMPLETED] += sum(map(len, write.completed))
        if isinstance(claimed.orders, ClaimedRun):
            self._count_first_attempts(claimed.orders.sequences, claimed.orders.created_us)
            return
        first_attempts = [order for order in claimed.orders if order.claims == 1]
        # Orders of the same commit are adjacent and have the same creation time.
        for created_us, same_age in groupby(first_attempts, _CREATED):
            self._count_first_attempts([order.sequence for order in same_age], created_us)

    def _count_first_attempts(self, sequences: Sequence[int], created_us: int) -> None:
        # Not negative, even if the clock was set back before the process started.
        waited_us = max(0, self._clock() - self._clock.accepted_us(sequences[0], created_us))
        self.queue_wait_s.observe(waited_us / _MICROSECONDS, len(sequences))


def _outcome_of(status: Status, due_us: int | None, *, counts: bool) -> AttemptOutcome:
    if status is Status.COMPLETED:
        return AttemptOutcome.COMPLETED
    if status is Status.FAILED:
        return AttemptOutcome.FAILED
    if due_us is None:
        return AttemptOutcome.GIVEN_BACK
    return AttemptOutcome.RETRIED if counts else AttemptOutcome.REFUSED
