"""The orders on disk. Every method is one transaction over a batch and runs on the caller's thread.

A batch travels as one JSON parameter and comes back as one JSON value: `sqlite3` lets the GIL go and takes it back at
each step of a statement, so that a row a step would wait for the event loop at every row.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import msgspec
import peewee

from models.database import RetryingSqliteDatabase, is_busy
from models.errors import OrderConflictError, StorageBusyError, StorageUnavailableError
from models.order import Insertion, NewOrder, Order, Outcome, Status, Totals
from models.schema import SCHEMA_VERSION

R = TypeVar("R")

_COLUMNS = """json_array(sequence, order_id, user_id, json(item_ids), total_amount, metadata, status, attempts, claims,
    error, created_us, processed_us)"""

_INSERT = """
INSERT INTO orders (order_id, user_id, item_ids, total_amount, metadata, status, attempts, claims, created_us)
SELECT value->>0, value->>1, value->>2, value->>3, value->>4, 'Pending', 0, 0, ?
FROM json_each(?) WHERE true
ON CONFLICT (order_id) DO NOTHING"""

_FIND = f"""
SELECT json_group_array({_COLUMNS}) FROM orders WHERE order_id IN (SELECT value FROM json_each(?))"""

_NEXT_PENDING = f"""
SELECT json_group_array({_COLUMNS}), max(sequence) FROM (
    SELECT * FROM orders WHERE status = 'Pending' ORDER BY sequence LIMIT ?)"""

_CLAIM = """
UPDATE orders SET status = 'Processing', attempts = attempts + 1, claims = claims + 1
WHERE status = 'Pending' AND sequence <= ?"""

# Fenced: an outcome counts only for the claim that is still running.
_RUNNING = """
FROM (SELECT value->>0 AS sequence, value->>1 AS claim, value->>2 AS status, value->>3 AS error FROM json_each(?))
    AS outcome {join}
WHERE orders.sequence = outcome.sequence AND orders.claims = outcome.claim AND orders.status = 'Processing'"""

_COUNT_OUTCOMES = f"""
SELECT outcome.status, count(*), sum(max(0, ? - orders.created_us))
{_RUNNING.format(join="CROSS JOIN orders")} GROUP BY outcome.status"""

_FINISH = f"""
UPDATE orders SET
    status = outcome.status,
    error = outcome.error,
    attempts = attempts - (outcome.status = 'Pending'),
    processed_us = CASE outcome.status WHEN 'Pending' THEN NULL ELSE max(?, created_us) END
{_RUNNING.format(join="")}"""

_RECOVER = "UPDATE orders SET status = 'Pending' WHERE status = 'Processing'"

_ADD_TO_TOTALS = """
UPDATE totals SET pending = pending + ?, processing = processing + ?, completed = completed + ?, failed = failed + ?,
    processing_us = processing_us + ?"""

_TOTALS = """
SELECT pending, processing, completed, failed, cancelled, processing_us,
    (SELECT created_us FROM orders WHERE status = 'Pending' ORDER BY sequence LIMIT 1) FROM totals"""

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

    def insert(self, orders: Sequence[NewOrder]) -> list[Insertion | OrderConflictError]:
        """Stores the new ones among `orders` as Pending, synced to disk; one result for each, in order.

        The first of two orders with one id wins, within a batch too.
        """
        results = self._write(lambda: self._insert(orders))
        # A batch that holds nothing new reaches no disk, and says nothing about it.
        self.is_writable = self.is_writable or Insertion.ACCEPTED in results
        return results

    def find(self, order_ids: Sequence[int]) -> list[Order | None]:
        """The stored order for each id, None where there is none."""
        with _storage_errors():
            found = {order.order_id: order for order in self._find(order_ids)}
        return [found.get(order_id) for order_id in order_ids]

    def finish_and_claim(self, outcomes: Sequence[Outcome], limit: int) -> list[Order]:
        """Records how attempts ended, then claims up to `limit` Pending orders, oldest first, as Processing.

        An outcome of an attempt that is not running any more changes nothing.
        """
        return self._write(lambda: self._finish_and_claim(outcomes, limit))

    def recover(self) -> int:
        """Makes every Processing order Pending again and says how many; only for when nothing is running."""
        return self._write(self._recover)

    def totals(self) -> Totals:
        """The totals as of the last commit; the time does not depend on how many orders there are."""
        with _storage_errors():
            return Totals(*self._database.execute_sql(_TOTALS).fetchone())

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

    def _insert(self, orders: Sequence[NewOrder]) -> list[Insertion | OrderConflictError]:
        rows = msgspec.json.encode(
            [(order.order_id, order.user_id, order.item_ids, order.total_amount, order.metadata) for order in orders]
        )
        cursor = self._database.execute_sql(_INSERT, (self._clock(), rows.decode()))
        inserted = cursor.rowcount
        if inserted:
            self._add_to_totals(pending=inserted)
        if inserted == len(orders):
            return [Insertion.ACCEPTED] * inserted
        # Sequences of one statement follow each other, so those of this batch are the last ones.
        return self._explain(orders, first_new=cursor.lastrowid - inserted + 1 if inserted else None)

    def _explain(self, orders: Sequence[NewOrder], first_new: int | None) -> list[Insertion | OrderConflictError]:
        stored = {order.order_id: order for order in self._find([order.order_id for order in orders])}
        fresh = {order_id for order_id, order in stored.items() if first_new and order.sequence >= first_new}
        results: list[Insertion | OrderConflictError] = []
        for order in orders:
            if order.order_id in fresh:
                fresh.remove(order.order_id)
                results.append(Insertion.ACCEPTED)
            elif order.is_same_as(stored[order.order_id]):
                results.append(Insertion.REPLAYED)
            else:
                results.append(OrderConflictError(order.order_id))
        return results

    def _find(self, order_ids: Sequence[int]) -> list[Order]:
        found = self._database.execute_sql(_FIND, (msgspec.json.encode(order_ids).decode(),)).fetchone()[0]
        return _DECODE_ORDERS(found)

    def _finish_and_claim(self, outcomes: Sequence[Outcome], limit: int) -> list[Order]:
        now_us = self._clock()
        counts: dict[str, int] = {}
        processing_us = 0
        if outcomes:
            # One outcome for each attempt, the first one; were there two, they would be counted twice.
            single = {(outcome.sequence, outcome.claim): outcome for outcome in reversed(outcomes)}
            encoded = msgspec.json.encode([outcome.as_text() for outcome in single.values()]).decode()
            for status, count, duration_us in self._database.execute_sql(_COUNT_OUTCOMES, (now_us, encoded)).fetchall():
                counts[status] = count
                processing_us += duration_us if status == Status.COMPLETED else 0
            self._database.execute_sql(_FINISH, (now_us, encoded))
        claimed = self._claim(limit) if limit else []
        ended = sum(counts.values())
        if ended or claimed:
            self._add_to_totals(
                pending=counts.get(Status.PENDING, 0) - len(claimed),
                processing=len(claimed) - ended,
                completed=counts.get(Status.COMPLETED, 0),
                failed=counts.get(Status.FAILED, 0),
                processing_us=processing_us,
            )
        return claimed

    def _claim(self, limit: int) -> list[Order]:
        found, last = self._database.execute_sql(_NEXT_PENDING, (limit,)).fetchone()
        if last is None:
            return []
        self._database.execute_sql(_CLAIM, (last,))
        return [
            msgspec.structs.replace(
                order, status=Status.PROCESSING, attempts=order.attempts + 1, claims=order.claims + 1
            )
            for order in _DECODE_ORDERS(found)
        ]

    def _recover(self) -> int:
        count: int = self._database.execute_sql(_RECOVER).rowcount
        self._add_to_totals(pending=count, processing=-count)
        return count

    def _add_to_totals(
        self, *, pending: int = 0, processing: int = 0, completed: int = 0, failed: int = 0, processing_us: int = 0
    ) -> None:
        self._database.execute_sql(_ADD_TO_TOTALS, (pending, processing, completed, failed, processing_us))
