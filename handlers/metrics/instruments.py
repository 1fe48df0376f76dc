"""What the server notes about itself from its start on. Lives on the event loop, but for two of the histograms."""

import enum
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from handlers.metrics.histogram import Histogram
from models.errors import OrderConflictError
from models.order import Status
from models.writes import (
    AnyWrite,
    ClaimedOrders,
    FinishAndClaim,
    Insertion,
    NewOrder,
    NewOrders,
    RetriedOrders,
    StatusChanged,
    WriteResult,
)

_MICROSECONDS = 1_000_000
_ENDING = attrgetter("status", "due_us")
_CREATION = attrgetter("created_us")

_REQUEST_BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_WAIT_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 7_200)
_ATTEMPT_BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60, 300)
_ORDER_BOUNDS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000)


class IntakeOutcome(enum.StrEnum):
    """What became of an order that came in, alone or with others."""

    ACCEPTED = "accepted"
    REPLAYED = "replayed"
    CONFLICT = "conflict"
    INVALID = "invalid"
    REFUSED = "refused"
    """It was an order, but could not be stored: too many were waiting, or the storage did not work."""


class AttemptOutcome(enum.StrEnum):
    """How an attempt at an order ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    RETRIED = "retried"
    """It is to be made again later."""
    GIVEN_BACK = "given_back"
    """A stop cut it off."""


class Instruments:
    """Durations, sizes and counts since the start. `clock` returns microseconds since 1970, UTC.

    The histograms are for whoever measures to `observe`, but for the two that `note_batch` sees to.
    """

    def __init__(self, *, clock: Callable[[], int]) -> None:
        self._clock = clock
        self.ack_s = Histogram(_REQUEST_BOUNDS_S)
        """From a `POST /order` that is there whole to its 202."""
        self.queue_wait_s = Histogram(_WAIT_BOUNDS_S)
        """From an order's acceptance to its first attempt. Noted by `note_batch`."""
        self.processing_s = Histogram(_ATTEMPT_BOUNDS_S)
        """One attempt in the processor; each one of a batch takes as long as the batch. The workers', one at a time."""
        self.commit_s = Histogram(_REQUEST_BOUNDS_S)
        """One batch on the writer, from its first statement to the sync, whether it worked or not. The writer's."""
        self.commit_orders = Histogram(_ORDER_BOUNDS)
        """New orders in a commit that has any. Noted by `note_batch`."""
        self.intake = dict.fromkeys(IntakeOutcome, 0)
        self.attempts = dict.fromkeys(AttemptOutcome, 0)
        self.cancelled = 0
        self.retried_by_hand = 0

    def note_intake(self, outcome: IntakeOutcome, count: int = 1) -> None:
        """Notes orders that never got into a batch: those that are Invalid, and those that a queue Refused."""
        self.intake[outcome] += count

    def note_batch(self, items: Sequence[AnyWrite], results: Sequence[WriteResult | BaseException]) -> None:
        """Notes what the store has written: it is called once for each batch, as a Batcher's `after_batch`."""
        accepted_before = self.intake[IntakeOutcome.ACCEPTED]
        accepted_alone = 0
        for item, result in zip(items, results, strict=True):
            if result is Insertion.ACCEPTED:
                accepted_alone += 1
            elif isinstance(item, NewOrder):
                self._note_insertion(result)
            elif isinstance(item, NewOrders):
                self._note_group(result if isinstance(result, list) else [result] * len(item.orders))
            elif isinstance(item, FinishAndClaim) and isinstance(result, ClaimedOrders):
                self._note_turn(item, result)
            elif isinstance(result, StatusChanged):
                # One that was Cancelled already is given back as it is.
                self.cancelled += result.was is Status.PENDING
                self.retried_by_hand += result.was is Status.FAILED
            elif isinstance(result, RetriedOrders):
                self.retried_by_hand += len(result.orders)
        self.intake[IntakeOutcome.ACCEPTED] += accepted_alone
        if accepted := self.intake[IntakeOutcome.ACCEPTED] - accepted_before:
            self.commit_orders.observe(accepted)

    def _note_group(self, results: list[Any]) -> None:
        accepted = results.count(Insertion.ACCEPTED)
        self.intake[IntakeOutcome.ACCEPTED] += accepted
        if accepted < len(results):
            for result in results:
                if result is not Insertion.ACCEPTED:
                    self._note_insertion(result)

    def _note_insertion(self, result: object) -> None:
        if result is Insertion.REPLAYED:
            self.intake[IntakeOutcome.REPLAYED] += 1
        elif isinstance(result, OrderConflictError):
            self.intake[IntakeOutcome.CONFLICT] += 1
        else:
            self.intake[IntakeOutcome.REFUSED] += 1

    def _note_turn(self, turn: FinishAndClaim, claimed: ClaimedOrders) -> None:
        for (status, due_us), alike in groupby(turn.outcomes, _ENDING):
            self.attempts[_outcome_of(status, due_us)] += len(list(alike))
        now_us = self._clock()
        first_attempts = [order for order in claimed.orders if order.claims == 1]
        # Those that one commit took in stand together, and have waited alike.
        for created_us, together in groupby(first_attempts, _CREATION):
            # The clock may have been set back since.
            self.queue_wait_s.observe(max(0, now_us - created_us) / _MICROSECONDS, len(list(together)))


def _outcome_of(status: Status, due_us: int | None) -> AttemptOutcome:
    if status is Status.COMPLETED:
        return AttemptOutcome.COMPLETED
    if status is Status.FAILED:
        return AttemptOutcome.FAILED
    return AttemptOutcome.GIVEN_BACK if due_us is None else AttemptOutcome.RETRIED
