"""What one transaction does to the orders, step by step, and to their totals with it.

Runs inside a transaction, on the thread of whoever opened it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from models.errors import OrderConflictError, WrongStatusError
from models.order import Attempt, NewOrder, Order, Status
from models.sqlite import statements
from models.sqlite.database import RetryingSqliteDatabase
from models.writes import Cancel, Claimed, Identity, Inserted, Insertion, Moved, Outcome, Retried, Retry, RetryFailed

MAX_MADE_READY = 1_000
"""How many retries that are due one claim makes ready; whoever claims is told if more are."""
MAX_SEQUENCE = 2**63 - 1
SHORTEST_RUN = 8
"""On an average, for attempts that stand together to be ended together: each run is two statements."""

_decode_orders = msgspec.json.Decoder(list[Order]).decode
_decode_identities = msgspec.json.Decoder(list[Identity]).decode
_decode_attempts = msgspec.json.Decoder(list[Attempt]).decode


def find_orders(database: RetryingSqliteDatabase, order_ids: Sequence[int]) -> dict[int, Order]:
    """The stored orders among these, by id."""
    [found] = database.execute_sql(statements.FIND, (_as_json(order_ids),)).fetchone()
    return {order.order_id: order for order in _decode_orders(found)}


def _as_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


class _Change(msgspec.Struct):
    """What a transaction adds to the totals."""

    pending: int = 0
    processing: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    processing_us: int = 0


class Transaction:
    """Steps that take effect together; `add_to_totals` is the last one. `now_us` dates them all."""

    def __init__(self, database: RetryingSqliteDatabase, *, now_us: int) -> None:
        self._database = database
        self._now_us = now_us
        self._change = _Change()
        self.inserted = 0
        """How many new orders have been stored."""

    @property
    def pending(self) -> int:
        """How many more orders are Pending than before."""
        return self._change.pending

    def add_to_totals(self) -> None:
        """The last step: adds what has changed."""
        amounts = msgspec.structs.astuple(self._change)
        if any(amounts):
            self._database.execute_sql(statements.ADD_TO_TOTALS, amounts)

    def insert(self, orders: Sequence[NewOrder], limit: int) -> tuple[list[Inserted], Claimed | None]:
        """Stores the new ones; the results, and those that were claimed as they came in: all of them, where nothing is
        ready before them and `limit` allows it, else None."""
        next_due_us = None
        is_claim = False
        if len(orders) <= limit:
            has_ready, next_due_us = self._database.execute_sql(statements.HAS_READY).fetchone()
            is_claim = not has_ready and not self._is_due(next_due_us)
        claims = int(is_claim)
        status = Status.PROCESSING if is_claim else Status.PENDING
        parameters = (status, claims, claims, self._now_us, _as_json(orders))
        cursor = self._database.execute_sql(statements.INSERT, parameters)
        inserted: int = cursor.rowcount
        self.inserted += inserted
        if is_claim:
            self._change.processing += inserted
        else:
            self._change.pending += inserted
        # Sequences of one statement follow each other, so those of this batch are the last ones.
        first = cursor.lastrowid - inserted + 1 if inserted else MAX_SEQUENCE
        if inserted == len(orders):
            results: list[Inserted] = [Insertion.ACCEPTED] * inserted
            if not is_claim:
                return results, None
            fresh = [order.claimed(first + place, self._now_us) for place, order in enumerate(orders)]
        else:
            stored = find_orders(self._database, [order.order_id for order in orders])
            new = {order_id: order for order_id, order in stored.items() if order.sequence >= first}
            results = _explain(orders, stored, set(new))
            fresh = sorted(new.values(), key=lambda order: order.sequence)
        return results, Claimed(fresh, next_due_us) if is_claim else None

    def claim(self, limit: int) -> Claimed:
        """Up to `limit` ready orders, oldest first, as Processing; retries that are due are made ready before.

        Where more are due than it makes ready it claims none, for an older one may be among the others; `next_due_us`
        has then passed already.
        """
        found, last, next_due_us = self._next_ready(limit)
        if self._is_due(next_due_us):
            self._database.execute_sql(statements.MAKE_READY, (self._now_us, MAX_MADE_READY))
            found, last, next_due_us = self._next_ready(limit)
        if last is None or self._is_due(next_due_us):
            return Claimed([], next_due_us)
        self._database.execute_sql(statements.CLAIM, (last,))
        claimed = _decode_orders(found)
        self._change.pending -= len(claimed)
        self._change.processing += len(claimed)
        return Claimed(claimed, next_due_us)

    def finish(self, outcomes: Sequence[Outcome]) -> None:
        """Records how attempts ended; an outcome of an attempt that is not running any more changes nothing."""
        ends: defaultdict[Status, list[Outcome]] = defaultdict(list)
        # One outcome for each attempt, the first one; were there two, they would be counted twice.
        known: set[tuple[int, int]] = set()
        for outcome in outcomes:
            attempt = (outcome.sequence, outcome.claim)
            if attempt not in known:
                known.add(attempt)
                ends[outcome.status].append(outcome.as_text())
        if completed := ends[Status.COMPLETED]:
            runs = _runs_of(completed)
            if len(runs) * SHORTEST_RUN <= len(completed):
                for run in runs:
                    self._complete(statements.SUM_UP_RUN, statements.COMPLETE_RUN, *run)
            else:
                self._complete(statements.SUM_UP, statements.COMPLETE, _as_json(completed))
        if failed := ends[Status.FAILED]:
            self._change.failed += self._leave_processing(statements.FAIL, self._now_us, _as_json(failed))
        if put_back := ends[Status.PENDING]:
            self._change.pending += self._leave_processing(statements.PUT_BACK, _as_json(put_back))

    def _complete(self, sum_up: str, complete: str, *which: int | str) -> None:
        count, processing_us = self._database.execute_sql(sum_up, (self._now_us, *which)).fetchone()
        self._change.completed += count
        self._change.processing_us += processing_us or 0
        self._leave_processing(complete, self._now_us, *which)

    def _leave_processing(self, statement: str, *parameters: int | str) -> int:
        """How many of the attempts were still running, and so have ended."""
        count: int = self._database.execute_sql(statement, parameters).rowcount
        self._change.processing -= count
        return count

    def interrupted(self) -> list[Attempt]:
        """Every attempt that is Processing."""
        return _decode_attempts(self._database.execute_sql(statements.INTERRUPTED).fetchone()[0])

    def cancel(self, wishes: Sequence[Cancel]) -> list[Moved | WrongStatusError | None]:
        """Each order as Cancelled; an error for one that is neither Pending nor that already, None for none."""
        order_ids = [wish.order_id for wish in wishes]
        pending = self._with_status(Status.PENDING, order_ids)
        self._database.execute_sql(statements.CANCEL, (_as_json(list(pending.values())),))
        self._change.pending -= len(pending)
        self._change.cancelled += len(pending)
        stored = find_orders(self._database, order_ids)
        return [
            Moved(order, Status.PENDING if pending.pop(order_id, None) else order.status)
            if order and order.status is Status.CANCELLED
            else _wrong_status(order, needed=Status.PENDING)
            for order_id, order in ((each, stored.get(each)) for each in order_ids)
        ]

    def retry(self, wishes: Sequence[Retry]) -> list[Moved | WrongStatusError | None]:
        """Each order as Pending; an error for one that is not Failed, None for none."""
        order_ids = [wish.order_id for wish in wishes]
        failed = self._with_status(Status.FAILED, order_ids)
        self._retry(_as_json(list(failed.values())), len(failed))
        stored = find_orders(self._database, order_ids)
        # Who asks for an order a second time finds it Pending.
        return [
            Moved(order, Status.FAILED)
            if order and failed.pop(order_id, None)
            else _wrong_status(order, needed=Status.FAILED)
            for order_id, order in ((each, stored.get(each)) for each in order_ids)
        ]

    def _with_status(self, status: Status, order_ids: Sequence[int]) -> dict[int, int]:
        """The sequences of those orders that have the status, by id."""
        stored = find_orders(self._database, order_ids)
        return {order_id: order.sequence for order_id, order in stored.items() if order.status is status}

    def retry_failed(self, wishes: Sequence[RetryFailed]) -> list[Retried]:
        """Makes the next Failed orders Pending."""
        results = []
        for wish in wishes:
            [found] = self._database.execute_sql(statements.NEXT_FAILED, (wish.after, wish.limit)).fetchone()
            orders = _decode_identities(found)
            self._retry(_as_json([order.sequence for order in orders]), len(orders))
            results.append(Retried(orders, orders[-1].sequence if orders else wish.after))
        return results

    def _retry(self, sequences: str, count: int) -> None:
        self._database.execute_sql(statements.RETRY, (sequences,))
        self._change.failed -= count
        self._change.pending += count

    def _next_ready(self, limit: int) -> tuple[str, int | None, int | None]:
        """The orders as they are once claimed, as JSON, the last one's sequence, when the next waiting one is due."""
        found: tuple[str, int | None, int | None] = self._database.execute_sql(
            statements.NEXT_READY, (limit,)
        ).fetchone()
        return found

    def _is_due(self, due_us: int | None) -> bool:
        return due_us is not None and due_us <= self._now_us


def _runs_of(outcomes: Sequence[Outcome]) -> list[tuple[int, int, int]]:
    """The first and the last sequence and the claim of attempts with one claim whose sequences follow each other."""
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


def _explain(orders: Sequence[NewOrder], stored: Mapping[int, Order], new: set[int]) -> list[Inserted]:
    results: list[Inserted] = []
    for order in orders:
        if order.order_id in new:
            new.remove(order.order_id)
            results.append(Insertion.ACCEPTED)
        elif order.is_same_as(stored[order.order_id]):
            results.append(Insertion.REPLAYED)
        else:
            results.append(OrderConflictError(order.order_id))
    return results
