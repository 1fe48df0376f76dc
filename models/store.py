"""The orders on disk. Every method is one transaction over a batch and runs on the caller's thread.

A batch travels as one JSON parameter and comes back as one JSON value: `sqlite3` lets the GIL go and takes it back at
each step of a statement, so that a row a step would wait for the event loop at every row.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

import msgspec
import peewee

from models import statements
from models.database import RetryingSqliteDatabase, is_busy
from models.errors import OrderConflictError, StorageBusyError, StorageUnavailableError
from models.order import Insertion, NewOrder, Order, Outcome, Status, Totals, Turn
from models.schema import SCHEMA_VERSION

R = TypeVar("R")

MAX_SEQUENCE = 2**63 - 1

_DECODE_ORDERS = msgspec.json.Decoder(list[Order]).decode


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except peewee.DatabaseError as error:
        if is_busy(error):
            raise StorageBusyError("the database is locked by another program") from error
        raise StorageUnavailableError(f"the database can't be used: {error}") from error


class OrderStore:
    """Orders and their totals in one database. Errors: StorageBusyError and StorageUnavailableError, all or nothing.

    `clock` returns microseconds since 1970, UTC.
    """

    def __init__(self, database: RetryingSqliteDatabase, *, clock: Callable[[], int]) -> None:
        self._database = database
        self._clock = clock
        self.is_writable = True
        """Whether the last write to disk worked. Set by whoever writes; may be read on any thread."""

    def connect(self) -> None:
        """Opens the calling thread's connection, which every other method needs."""
        with _storage_errors():
            self._database.connect()

    def disconnect(self) -> None:
        """Closes the calling thread's connection; the last one to close moves the log into the database."""
        self._database.close()

    def write(self, batch: Sequence[NewOrder | Turn]) -> list[Insertion | OrderConflictError | list[Order]]:
        """Takes new orders in and turns the processing on, all in one transaction; one result for each, in order.

        The new ones among the orders are stored, synced to disk; the first of two with one id wins, within a batch too.
        A turn records how attempts ended (an outcome of an attempt that is not running any more changes nothing), and
        gets up to `limit` Pending orders, oldest first, as Processing.
        """
        orders = [item for item in batch if isinstance(item, NewOrder)]
        turns = [item for item in batch if isinstance(item, Turn)]
        insertions, claims = self._write(lambda: self._apply(orders, turns))
        # A batch that holds nothing new may reach no disk, and then says nothing about it.
        self.is_writable = self.is_writable or Insertion.ACCEPTED in insertions
        next_insertion, next_claim = iter(insertions), iter(claims)
        return [next(next_insertion if isinstance(item, NewOrder) else next_claim) for item in batch]

    def find(self, order_ids: Sequence[int]) -> list[Order | None]:
        """The stored order for each id, None where there is none."""
        with _storage_errors():
            found = {order.order_id: order for order in self._find(order_ids)}
        return [found.get(order_id) for order_id in order_ids]

    def recover(self) -> int:
        """Makes every Processing order Pending again and says how many; only for when nothing is running."""
        return self._write(self._recover)

    def totals(self) -> Totals:
        """The totals as of the last commit; the time does not depend on how many orders there are."""
        with _storage_errors():
            return Totals(*self._database.execute_sql(statements.TOTALS).fetchone())

    def probe(self) -> None:
        """Writes a page to disk and so raises the storage error that an order would meet now."""
        # An UPDATE that changes nothing would not write: SQLite compares the cells.
        self._write(lambda: self._database.execute_sql(f"PRAGMA user_version = {SCHEMA_VERSION}"))
        self.is_writable = True

    def _write(self, work: Callable[[], R]) -> R:
        try:
            with _storage_errors():
                return self._database.run(work)
        except (StorageBusyError, StorageUnavailableError):
            self.is_writable = False
            raise

    def _apply(
        self, orders: Sequence[NewOrder], turns: Sequence[Turn]
    ) -> tuple[list[Insertion | OrderConflictError], list[list[Order]]]:
        now_us = self._clock()
        change = _Change()
        for turn in turns:
            if turn.outcomes:
                self._finish(turn.outcomes, now_us, change)
        insertions: list[Insertion | OrderConflictError] = []
        fresh: list[Order] = []
        if orders:
            insertions, fresh = self._insert(orders, turns[0].limit if turns else 0, now_us, change)
        claims = []
        for turn in turns:
            claims.append(fresh or (self._claim(turn.limit, change) if turn.limit else []))
            fresh = []
        self._add_to_totals(change)
        return insertions, claims

    def _insert(
        self, orders: Sequence[NewOrder], limit: int, now_us: int, change: "_Change"
    ) -> tuple[list[Insertion | OrderConflictError], list[Order]]:
        """The results, and the orders that were claimed as they came in: all of them, where nothing waits before them
        and `limit` allows it, else none."""
        is_claim = len(orders) <= limit and not self._database.execute_sql(statements.HAS_PENDING).fetchone()[0]
        claims = int(is_claim)
        status = Status.PROCESSING if is_claim else Status.PENDING
        rows = msgspec.json.encode(
            [(order.order_id, order.user_id, order.item_ids, order.total_amount, order.metadata) for order in orders]
        )
        cursor = self._database.execute_sql(statements.INSERT, (status, claims, claims, now_us, rows.decode()))
        inserted: int = cursor.rowcount
        if is_claim:
            change.processing += inserted
        else:
            change.pending += inserted
        # Sequences of one statement follow each other, so those of this batch are the last ones.
        first = cursor.lastrowid - inserted + 1 if inserted else MAX_SEQUENCE
        if inserted == len(orders):
            fresh = [order.claimed(first + place, now_us) for place, order in enumerate(orders)] if is_claim else []
            return [Insertion.ACCEPTED] * inserted, fresh
        stored = {order.order_id: order for order in self._find([order.order_id for order in orders])}
        new = {order_id: order for order_id, order in stored.items() if order.sequence >= first}
        fresh = sorted(new.values(), key=lambda order: order.sequence) if is_claim else []
        return self._explain(orders, stored, set(new)), fresh

    def _explain(
        self, orders: Sequence[NewOrder], stored: Mapping[int, Order], new: set[int]
    ) -> list[Insertion | OrderConflictError]:
        results: list[Insertion | OrderConflictError] = []
        for order in orders:
            if order.order_id in new:
                new.remove(order.order_id)
                results.append(Insertion.ACCEPTED)
            elif order.is_same_as(stored[order.order_id]):
                results.append(Insertion.REPLAYED)
            else:
                results.append(OrderConflictError(order.order_id))
        return results

    def _find(self, order_ids: Sequence[int]) -> list[Order]:
        found = self._database.execute_sql(statements.FIND, (msgspec.json.encode(order_ids).decode(),)).fetchone()[0]
        return _DECODE_ORDERS(found)

    def _finish(self, outcomes: Sequence[Outcome], now_us: int, change: "_Change") -> None:
        # One outcome for each attempt, the first one; were there two, they would be counted twice.
        single = {(outcome.sequence, outcome.claim): outcome for outcome in reversed(outcomes)}
        encoded = msgspec.json.encode([outcome.as_text() for outcome in single.values()]).decode()
        for status, count, duration_us in self._database.execute_sql(
            statements.COUNT_OUTCOMES, (now_us, encoded)
        ).fetchall():
            change.processing -= count
            match status:
                case Status.COMPLETED:
                    change.completed += count
                    change.processing_us += duration_us
                case Status.FAILED:
                    change.failed += count
                case Status.PENDING:
                    change.pending += count
        self._database.execute_sql(statements.FINISH, (now_us, encoded))

    def _claim(self, limit: int, change: "_Change") -> list[Order]:
        found, last = self._database.execute_sql(statements.NEXT_PENDING, (limit,)).fetchone()
        if last is None:
            return []
        self._database.execute_sql(statements.CLAIM, (last,))
        claimed = [
            msgspec.structs.replace(
                order, status=Status.PROCESSING, attempts=order.attempts + 1, claims=order.claims + 1
            )
            for order in _DECODE_ORDERS(found)
        ]
        change.pending -= len(claimed)
        change.processing += len(claimed)
        return claimed

    def _recover(self) -> int:
        count: int = self._database.execute_sql(statements.RECOVER).rowcount
        self._add_to_totals(_Change(pending=count, processing=-count))
        return count

    def _add_to_totals(self, change: "_Change") -> None:
        amounts = msgspec.structs.astuple(change)
        if any(amounts):
            self._database.execute_sql(statements.ADD_TO_TOTALS, amounts)


class _Change(msgspec.Struct):
    """What a transaction adds to the totals."""

    pending: int = 0
    processing: int = 0
    completed: int = 0
    failed: int = 0
    processing_us: int = 0
