"""The store in a SQLite file. Implements `models.store.Store`, which documents the methods.

Every method runs on the caller's thread and uses that thread's connection.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import peewee

from models.errors import StorageBusyError, StorageUnavailableError
from models.listing import HIGHEST, Listing, Page
from models.order import Attempt, AttemptRecord, Order, Totals
from models.sqlite import statements
from models.sqlite.attempts import finish, interrupted
from models.sqlite.batch import apply_batch
from models.sqlite.database import RetryingSqliteDatabase, is_busy
from models.sqlite.history import read_history
from models.sqlite.listing import list_orders
from models.sqlite.lock import DatabaseLock
from models.sqlite.schema import SCHEMA_VERSION
from models.sqlite.transaction import MAX_MADE_READY, Transaction, find_orders
from models.writes import AnyWrite, Outcome, WriteResult

R = TypeVar("R")


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except peewee.DatabaseError as error:
        if is_busy(error):
            raise StorageBusyError("the database is locked by another program") from error
        raise StorageUnavailableError(f"the database can't be used: {error}") from error


class SqliteStore:
    """A Store in `database`. `close` releases the `lock`. `clock` returns microseconds since 1970, UTC.

    Each claim begins by making at most `max_made_ready` due retries ready.
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
        self._pending = 0

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
            attempts = interrupted(transaction)
            finish(transaction, [outcome_of(attempt) for attempt in attempts])
            return len(attempts)

        count = self._write(end_interrupted)
        self._pending = self.totals().pending
        return count

    def write(self, batch: Sequence[AnyWrite], *, max_pending: int | None = None) -> list[WriteResult]:
        max_added = HIGHEST if max_pending is None else max_pending - self._pending
        return self._write(lambda transaction: apply_batch(transaction, batch), max_added=max_added)

    def find(self, order_ids: Sequence[int]) -> list[Order | None]:
        with _storage_errors():
            found = find_orders(self._database, order_ids)
        return [found.get(order_id) for order_id in order_ids]

    def list_orders(self, listing: Listing) -> Page:
        with _storage_errors():
            return list_orders(self._database, listing)

    def history(self, order_id: int) -> list[AttemptRecord] | None:
        with _storage_errors():
            return read_history(self._database, order_id)

    def totals(self) -> Totals:
        with _storage_errors():
            return Totals(*self._database.execute_sql(statements.TOTALS).fetchone())

    def probe(self) -> None:
        # An UPDATE to the same value is not enough: SQLite compares the values, and writes nothing.
        self._write(lambda _: self._database.execute_sql(f"PRAGMA user_version = {SCHEMA_VERSION}"))
        self.is_writable = True

    def _write(self, work: Callable[[Transaction], R], *, max_added: int = HIGHEST) -> R:
        def run() -> tuple[R, Transaction]:
            transaction = Transaction(
                self._database, now_us=self._clock(), max_added=max_added, max_made_ready=self._max_made_ready
            )
            result = work(transaction)
            transaction.add_to_totals()
            return result, transaction

        try:
            with _storage_errors():
                result, transaction = self._database.run(run)
        except (StorageBusyError, StorageUnavailableError):
            self.is_writable = False
            raise
        # A batch without new orders can write nothing, so it does not prove that writes work again.
        self.is_writable = self.is_writable or transaction.inserted > 0
        self._pending += transaction.change.pending
        return result
