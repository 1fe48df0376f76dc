"""The store in a SQLite file. Implements `models.store.Store`, which documents the methods.

Every method runs on the caller's thread, over that thread's connection.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import peewee

from models.errors import StorageBusyError, StorageUnavailableError
from models.listing import Listing, Page
from models.order import Attempt, Order, Totals
from models.sqlite import statements
from models.sqlite.database import RetryingSqliteDatabase, is_busy
from models.sqlite.listing import list_orders
from models.sqlite.lock import DatabaseLock
from models.sqlite.schema import SCHEMA_VERSION
from models.sqlite.transaction import MAX_MADE_READY, Transaction, find_orders
from models.writes import (
    AnyWrite,
    Cancel,
    ClaimedOrders,
    FinishAndClaim,
    InsertResult,
    NewOrder,
    NewOrders,
    Outcome,
    Retry,
    RetryFailedOrders,
    WriteResult,
)

R = TypeVar("R")
W = TypeVar("W", bound=AnyWrite)


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except peewee.DatabaseError as error:
        if is_busy(error):
            raise StorageBusyError("the database is locked by another program") from error
        raise StorageUnavailableError(f"the database can't be used: {error}") from error


class SqliteStore:
    """A Store over `database`. `close` releases the `lock`. `clock` returns microseconds since 1970, UTC.

    A claim first makes at most `max_made_ready` retries ready: those whose due time has passed.
    """

    def __init__(
        self,
        database: RetryingSqliteDatabase,
        *,
        clock: Callable[[], int],
        lock: DatabaseLock | None = None,
        max_made_ready: int = MAX_MADE_READY,
    ) -> None:
        self._database = database
        self._clock = clock
        self._lock = lock
        self._max_made_ready = max_made_ready
        self.is_writable = True
        self.pending = 0

    def connect(self) -> None:
        with _storage_errors():
            self._database.connect()

    def disconnect(self) -> None:
        # The last connection to close copies the WAL into the database.
        self._database.close()

    def close(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def recover(self, outcome_of: Callable[[Attempt], Outcome]) -> int:
        def end_interrupted(transaction: Transaction) -> int:
            interrupted = transaction.interrupted()
            transaction.finish([outcome_of(attempt) for attempt in interrupted])
            return len(interrupted)

        count = self._write(end_interrupted)
        self.pending = self.totals().pending
        return count

    def write(self, batch: Sequence[AnyWrite]) -> list[WriteResult]:
        return self._write(lambda transaction: _apply(transaction, batch))

    def find(self, order_ids: Sequence[int]) -> list[Order | None]:
        with _storage_errors():
            found = find_orders(self._database, order_ids)
        return [found.get(order_id) for order_id in order_ids]

    def list_orders(self, listing: Listing) -> Page:
        with _storage_errors():
            return list_orders(self._database, listing)

    def totals(self) -> Totals:
        with _storage_errors():
            return Totals(*self._database.execute_sql(statements.TOTALS).fetchone())

    def probe(self) -> None:
        # Not an UPDATE to the same value: SQLite compares the values, and would not write.
        self._write(lambda _: self._database.execute_sql(f"PRAGMA user_version = {SCHEMA_VERSION}"))
        self.is_writable = True

    def _write(self, work: Callable[[Transaction], R]) -> R:
        def run() -> tuple[R, Transaction]:
            transaction = Transaction(self._database, now_us=self._clock(), max_made_ready=self._max_made_ready)
            result = work(transaction)
            transaction.add_to_totals()
            return result, transaction

        try:
            with _storage_errors():
                result, transaction = self._database.run(run)
        except (StorageBusyError, StorageUnavailableError):
            self.is_writable = False
            raise
        # A batch without new orders may not have reached the disk, so it does not prove that writes work again.
        self.is_writable = self.is_writable or transaction.inserted > 0
        self.pending += transaction.pending
        return result


def _apply(transaction: Transaction, writes: Sequence[AnyWrite]) -> list[WriteResult]:
    """Makes the changes in the order that `Store.write` documents."""
    batch = _Batch(writes)
    finishes = batch.of_type(FinishAndClaim)
    if outcomes := [outcome for finish in finishes for outcome in finish.outcomes]:
        transaction.finish(outcomes)
    if cancels := batch.of_type(Cancel):
        batch.set_results(Cancel, transaction.cancel(cancels))
    if retries := batch.of_type(Retry):
        batch.set_results(Retry, transaction.retry(retries))
    if commands := batch.of_type(RetryFailedOrders):
        batch.set_results(RetryFailedOrders, transaction.retry_failed(commands))
    claimed: ClaimedOrders | None = None
    if orders := batch.new_orders():
        insertions, claimed = transaction.insert(orders, finishes[0].limit if finishes else 0)
        batch.set_insert_results(insertions)
    claims = []
    for finish in finishes:
        claims.append(claimed or (transaction.claim(finish.limit) if finish.limit else ClaimedOrders([])))
        claimed = None
    batch.set_results(FinishAndClaim, claims)
    return batch.results


class _Batch:
    """The writes of a batch by type, and their results in the places of the writes."""

    def __init__(self, writes: Sequence[AnyWrite]) -> None:
        self._writes = writes
        self._places: defaultdict[type, list[int]] = defaultdict(list)
        for place, write in enumerate(writes):
            self._places[type(write)].append(place)
        self.results: list[WriteResult] = [None] * len(writes)

    def of_type(self, kind: type[W]) -> list[W]:
        return cast(list[W], [self._writes[place] for place in self._places[kind]])

    def set_results(self, kind: type[Any], results: Iterable[WriteResult]) -> None:
        for place, result in zip(self._places[kind], results, strict=True):
            self.results[place] = result

    def new_orders(self) -> list[NewOrder]:
        """All new orders, in the order of the batch."""
        if NewOrders not in self._places:
            return self.of_type(NewOrder)
        orders: list[NewOrder] = []
        for write in self._writes:
            if isinstance(write, NewOrder):
                orders.append(write)
            elif isinstance(write, NewOrders):
                orders += write.orders
        return orders

    def set_insert_results(self, results: Sequence[InsertResult]) -> None:
        """Takes a result for each of `new_orders`."""
        if NewOrders not in self._places:
            self.set_results(NewOrder, results)
            return
        first = 0
        for place, write in enumerate(self._writes):
            if isinstance(write, NewOrder):
                self.results[place] = results[first]
                first += 1
            elif isinstance(write, NewOrders):
                self.results[place] = list(results[first : first + len(write.orders)])
                first += len(write.orders)
