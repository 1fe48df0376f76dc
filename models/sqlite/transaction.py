"""The steps of one write transaction: orders change, and the totals with them.

Runs inside a transaction, on the thread that opened it.
"""

from collections.abc import Mapping, Sequence

import msgspec

from models.errors import OrderConflictError, WrongStatusError
from models.listing import HIGHEST
from models.order import Attempt, Order, Status
from models.same_order import is_same_order
from models.sqlite import statements
from models.sqlite.database import RetryingSqliteDatabase
from models.sqlite.wire import (
    decode_attempts,
    decode_order_ids,
    decode_orders,
    encode_new_orders,
    encode_numbers,
    encode_outcomes,
)
from models.writes import (
    Cancel,
    ClaimedOrders,
    Insertion,
    InsertResult,
    NewOrder,
    Outcome,
    RetriedOrders,
    Retry,
    RetryFailedOrders,
    StatusChanged,
)

MAX_MADE_READY = 1_000
"""The default number of due retries that one claim makes ready, a limit on the duration of a commit."""
MIN_RUN_LENGTH = 8
"""If runs of attempts with consecutive sequences have at least this average length, each run is completed by two
statements of its own. Otherwise two statements complete all attempts."""


def find_orders(database: RetryingSqliteDatabase, order_ids: Sequence[int]) -> dict[int, Order]:
    """The stored orders among these, by id."""
    [found] = database.execute_sql(statements.FIND, (encode_numbers(order_ids),)).fetchone()
    return {order.order_id: order for order in decode_orders(found)}


class _Change(msgspec.Struct):
    """What a transaction adds to the totals."""

    pending: int = 0
    processing: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    processing_us: int = 0


class Transaction:
    """Steps that take effect together. `add_to_totals` must be the last one.

    `now_us` is the time of all steps (microseconds since 1970, UTC). A claim first makes at most
    `max_made_ready` retries ready: those whose due time has passed.
    """

    def __init__(self, database: RetryingSqliteDatabase, *, now_us: int, max_made_ready: int = MAX_MADE_READY) -> None:
        self._database = database
        self._now_us = now_us
        self._max_made_ready = max_made_ready
        self._change = _Change()
        self.inserted = 0
        """How many new orders have been stored."""

    @property
    def pending(self) -> int:
        """How many more orders are Pending than before the transaction."""
        return self._change.pending

    def add_to_totals(self) -> None:
        """The last step: adds the changes of all other steps to the totals."""
        amounts = msgspec.structs.astuple(self._change)
        if any(amounts):
            self._database.execute_sql(statements.ADD_TO_TOTALS, amounts)

    def insert(self, orders: Sequence[NewOrder], limit: int) -> tuple[list[InsertResult], ClaimedOrders | None]:
        """Stores new orders. Claims them in the same step if no other order is ready and `limit` allows all of them.

        Returns a result for each order, and the claim, or None if the orders were stored as Pending.
        """
        next_due_us = None
        is_claim = False
        if len(orders) <= limit:
            has_ready, next_due_us = self._database.execute_sql(statements.HAS_READY).fetchone()
            is_claim = not has_ready and not self._is_due(next_due_us)
        claims = int(is_claim)
        status = Status.PROCESSING if is_claim else Status.PENDING
        parameters = (status, claims, claims, self._now_us, encode_new_orders(orders))
        cursor = self._database.execute_sql(statements.INSERT, parameters)
        inserted: int = cursor.rowcount
        self.inserted += inserted
        if is_claim:
            self._change.processing += inserted
        else:
            self._change.pending += inserted
        # One statement assigns consecutive sequences, so the orders of this batch have the last ones.
        first = cursor.lastrowid - inserted + 1 if inserted else HIGHEST
        if inserted == len(orders):
            results: list[InsertResult] = [Insertion.ACCEPTED] * inserted
            if not is_claim:
                return results, None
            claimed = [self._as_claimed(order, first + place) for place, order in enumerate(orders)]
        else:
            stored = find_orders(self._database, [order.order_id for order in orders])
            new = {order_id: order for order_id, order in stored.items() if order.sequence >= first}
            results = _insert_results(orders, stored, set(new))
            claimed = sorted(new.values(), key=lambda order: order.sequence)
        return results, ClaimedOrders(claimed, next_due_us) if is_claim else None

    def _as_claimed(self, order: NewOrder, sequence: int) -> Order:
        """The stored order whose first attempt begins in this transaction."""
        return Order(
            sequence,
            order.order_id,
            order.user_id,
            order.item_ids,
            order.total_amount,
            order.metadata,
            Status.PROCESSING,
            1,
            1,
            None,
            self._now_us,
            None,
        )

    def claim(self, limit: int) -> ClaimedOrders:
        """Claims up to `limit` ready orders, oldest first, after making retries ready that are due.

        If more retries are due than one call makes ready, it claims none: an older order may be among the others.
        In that case `next_due_us` has already passed.
        """
        found, last, next_due_us = self._next_ready(limit)
        if self._is_due(next_due_us):
            self._database.execute_sql(statements.MAKE_READY, (self._now_us, self._max_made_ready))
            found, last, next_due_us = self._next_ready(limit)
        if last is None or self._is_due(next_due_us):
            return ClaimedOrders([], next_due_us)
        self._database.execute_sql(statements.CLAIM, (last,))
        claimed = decode_orders(found)
        self._change.pending -= len(claimed)
        self._change.processing += len(claimed)
        return ClaimedOrders(claimed, next_due_us)

    def finish(self, outcomes: Sequence[Outcome]) -> None:
        """Records how attempts ended. An outcome of an attempt that is not running any more changes nothing."""
        # Only the first outcome of an attempt: a second one would be counted twice.
        first: dict[tuple[int, int], Outcome] = {}
        for outcome in outcomes:
            first.setdefault((outcome.sequence, outcome.claim), outcome)
        if completed := [each for each in first.values() if each.status is Status.COMPLETED]:
            runs = _runs_in(completed)
            if len(runs) * MIN_RUN_LENGTH <= len(completed):
                for run in runs:
                    self._complete(statements.SUM_UP_RUN, statements.COMPLETE_RUN, *run)
            else:
                self._complete(statements.SUM_UP, statements.COMPLETE, encode_outcomes(completed))
        if len(completed) == len(first):
            return
        others = [each.with_storable_error() for each in first.values() if each.status is not Status.COMPLETED]
        if failed := [each for each in others if each.status is Status.FAILED]:
            self._change.failed += self._leave_processing(statements.FAIL, self._now_us, encode_outcomes(failed))
        if put_back := [each for each in others if each.status is Status.PENDING]:
            self._change.pending += self._leave_processing(statements.MAKE_PENDING, encode_outcomes(put_back))

    def _complete(self, sum_up: str, complete: str, *which: int | str) -> None:
        count, processing_us = self._database.execute_sql(sum_up, (self._now_us, *which)).fetchone()
        self._change.completed += count
        self._change.processing_us += processing_us or 0
        self._leave_processing(complete, self._now_us, *which)

    def _leave_processing(self, statement: str, *parameters: int | str) -> int:
        """Runs the statement. Returns how many of the attempts were still running, and have now ended."""
        count: int = self._database.execute_sql(statement, parameters).rowcount
        self._change.processing -= count
        return count

    def interrupted(self) -> list[Attempt]:
        """The latest attempt at every order that is Processing."""
        return decode_attempts(self._database.execute_sql(statements.INTERRUPTED).fetchone()[0])

    def cancel(self, cancels: Sequence[Cancel]) -> list[StatusChanged | WrongStatusError | None]:
        """Makes Pending orders Cancelled. A result for each: see `Cancel`."""
        order_ids = [cancel.order_id for cancel in cancels]
        pending = self._with_status(Status.PENDING, order_ids)
        self._database.execute_sql(statements.CANCEL, (encode_numbers(list(pending.values())),))
        self._change.pending -= len(pending)
        self._change.cancelled += len(pending)
        stored = find_orders(self._database, order_ids)
        return [
            StatusChanged(order, Status.PENDING if pending.pop(order_id, None) else order.status)
            if order and order.status is Status.CANCELLED
            else _wrong_status(order, needed=Status.PENDING)
            for order_id, order in ((each, stored.get(each)) for each in order_ids)
        ]

    def retry(self, retries: Sequence[Retry]) -> list[StatusChanged | WrongStatusError | None]:
        """Makes Failed orders Pending. A result for each: see `Retry`."""
        order_ids = [retry.order_id for retry in retries]
        failed = self._with_status(Status.FAILED, order_ids)
        self._retry(list(failed.values()))
        stored = find_orders(self._database, order_ids)
        # The second of two retries of one order finds it Pending.
        return [
            StatusChanged(order, Status.FAILED)
            if order and failed.pop(order_id, None)
            else _wrong_status(order, needed=Status.FAILED)
            for order_id, order in ((each, stored.get(each)) for each in order_ids)
        ]

    def _with_status(self, status: Status, order_ids: Sequence[int]) -> dict[int, int]:
        """The sequences of the orders that have this status, by id."""
        stored = find_orders(self._database, order_ids)
        return {order_id: order.sequence for order_id, order in stored.items() if order.status is status}

    def retry_failed(self, commands: Sequence[RetryFailedOrders]) -> list[RetriedOrders]:
        """Makes the next Failed orders Pending. A result for each: see `RetryFailedOrders`."""
        results = []
        for command in commands:
            [found] = self._database.execute_sql(statements.NEXT_FAILED, (command.after, command.limit)).fetchone()
            orders = decode_order_ids(found)
            self._retry([order.sequence for order in orders])
            results.append(RetriedOrders(orders, orders[-1].sequence if orders else command.after))
        return results

    def _retry(self, sequences: Sequence[int]) -> None:
        self._database.execute_sql(statements.RETRY_BY_REQUEST, (encode_numbers(sequences),))
        self._change.failed -= len(sequences)
        self._change.pending += len(sequences)

    def _next_ready(self, limit: int) -> tuple[str, int | None, int | None]:
        """The orders as they will be once claimed, in JSON; the last one's sequence; when the next retry is due."""
        found: tuple[str, int | None, int | None] = self._database.execute_sql(
            statements.NEXT_READY, (limit,)
        ).fetchone()
        return found

    def _is_due(self, due_us: int | None) -> bool:
        return due_us is not None and due_us <= self._now_us


def _runs_in(outcomes: Sequence[Outcome]) -> list[tuple[int, int, int]]:
    """Splits the attempts into runs: consecutive sequences with the same claim number.

    Returns (first sequence, last sequence, claim) for each run.
    """
    runs: list[tuple[int, int, int]] = []
    first = last = claim = -1
    for outcome in outcomes:
        if outcome.sequence == last + 1 and outcome.claim == claim:
            last += 1
            continue
        if last >= 0:
            runs.append((first, last, claim))
        first = last = outcome.sequence
        claim = outcome.claim
    return [*runs, (first, last, claim)]


def _wrong_status(order: Order | None, *, needed: Status) -> WrongStatusError | None:
    return None if order is None else WrongStatusError(order.order_id, status=order.status, needed=needed)


def _insert_results(orders: Sequence[NewOrder], stored: Mapping[int, Order], new: set[int]) -> list[InsertResult]:
    """A result for each order. `new` are the ids that this transaction stored."""
    results: list[InsertResult] = []
    for order in orders:
        if order.order_id in new:
            new.remove(order.order_id)
            results.append(Insertion.ACCEPTED)
        elif is_same_order(order, stored[order.order_id]):
            results.append(Insertion.REPLAYED)
        else:
            results.append(OrderConflictError(order.order_id))
    return results
