"""The state that the steps of a write transaction share.

The steps are in `insertion.py`, `attempts.py` and `commands.py`. Runs on the thread that opened the transaction.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import msgspec

from models.errors import StorageDamagedError
from models.listing import HIGHEST
from models.order import Order
from models.sqlite import statements
from models.sqlite.database import RetryingSqliteDatabase
from models.sqlite.faults import storage_errors
from models.sqlite.open_files import WalDamagedError
from models.sqlite.wire import decode_orders, encode_numbers

R = TypeVar("R")

MAX_MADE_READY = 1_000
"""How many due retries one claim makes ready by default. This limits the duration of a commit."""


_WAL_DAMAGED = (
    "{}. No more orders are accepted, and a restart loses the commits that are not in the database file yet, with up to"
    " {} orders. Stop the server, copy its files, start it again, and send missing orders again"
)


class TotalsChange(msgspec.Struct):
    """What a transaction adds to the totals."""

    pending: int = 0
    processing: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    processing_us: int = 0


class Transaction:
    """What the steps of a transaction share. `add_to_totals` must be the last step.

    All steps use `now_us` as the current time (microseconds since 1970, UTC). New orders are stored while the
    transaction adds at most `max_added` Pending orders to those before it. Each claim begins by making at most
    `max_made_ready` due retries ready. The orders with the sequences in `skipped` are neither claimed nor finished.
    """

    def __init__(
        self,
        database: RetryingSqliteDatabase,
        *,
        now_us: int,
        is_paused: bool,
        max_added: int,
        max_made_ready: int,
        skipped: Set[int],
    ) -> None:
        self.database = database
        self.now_us = now_us
        self.is_paused = is_paused
        """Whether processing is paused. If so, no orders are claimed."""
        self._max_added = max_added
        self.max_made_ready = max_made_ready
        self.skipped = skipped
        self.change = TotalsChange()
        """What the steps so far add to the totals. Each step adds its own changes."""
        self.inserted = 0
        """How many new orders have been stored."""
        self._connection: sqlite3.Connection = cast(Any, database).connection()
        self._changes_before = self._connection.total_changes

    @property
    def room(self) -> int:
        """How many new orders can be stored now."""
        return max(0, self._max_added - self.change.pending)

    def find(self, order_ids: Sequence[int]) -> dict[int, Order]:
        """The stored orders with these ids, by id. Includes the changes of all steps so far."""
        return find_orders(self.database, order_ids)

    def is_due(self, due_us: int | None) -> bool:
        """Whether `due_us` is now or in the past; false for None."""
        return due_us is not None and due_us <= self.now_us

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Undoes what the `with` block changes in the database."""
        before = self._connection.total_changes
        self.database.execute_sql("SAVEPOINT undone")
        yield
        self.database.execute_sql("ROLLBACK TO undone")
        self.database.execute_sql("RELEASE undone")
        self._changes_before += self._connection.total_changes - before

    def add_to_totals(self, *, even_if_unchanged: bool) -> None:
        """The last step: if other steps have changed rows, adds their changes to the totals and sets a new state."""
        if even_if_unchanged or self._connection.total_changes > self._changes_before:
            self.database.execute_sql(statements.ADD_TO_TOTALS, msgspec.structs.astuple(self.change))


class Transactions:
    """Runs write transactions on one thread, each synced to disk. `clock` returns microseconds since 1970, UTC.

    `skipped` contains the sequences of the orders that could not be claimed or finished because they are damaged.
    """

    def __init__(self, database: RetryingSqliteDatabase, *, clock: Callable[[], int], max_made_ready: int) -> None:
        self.database = database
        self._clock = clock
        self._max_made_ready = max_made_ready
        self.skipped: set[int] = set()
        self.pending = 0
        """How many orders are Pending after the last transaction."""
        self.is_paused = False
        """Whether processing is paused after the last transaction."""
        self.inserted = 0
        """How many new orders the transactions have stored."""
        self._inserted_at_checkpoint = 0
        self._is_new = True

    def run(self, work: Callable[[Transaction], R], *, max_pending: int | None = None) -> R:
        """Runs `work` in one transaction, and adds its changes to the totals. Raises a StorageError.

        New orders are stored while at most `max_pending` orders are Pending.
        """

        def run_once() -> tuple[R, Transaction]:
            transaction = Transaction(
                self.database,
                now_us=self._clock(),
                is_paused=self.is_paused,
                max_added=HIGHEST if max_pending is None else max_pending - self.pending,
                max_made_ready=self._max_made_ready,
                skipped=self.skipped,
            )
            if self.database.was_checkpointed:
                self._inserted_at_checkpoint = self.inserted
            result = work(transaction)
            # So that servers that continue from two copies of a database have different states.
            transaction.add_to_totals(even_if_unchanged=self._is_new)
            return result, transaction

        with self._errors():
            result, transaction = self.database.run(run_once)
        self._is_new = False
        self.inserted += transaction.inserted
        self.pending += transaction.change.pending
        self.is_paused = transaction.is_paused
        return result

    def checkpoint(self) -> None:
        """Moves commits to the database file, as far as other connections permit. Raises a StorageError."""
        with self._errors():
            self.database.checkpoint()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            with storage_errors():
                yield
        except WalDamagedError as error:
            count = self.inserted - self._inserted_at_checkpoint
            raise StorageDamagedError(_WAL_DAMAGED.format(error, count), code="SQLITE_IOERR") from error


def find_orders(database: RetryingSqliteDatabase, order_ids: Sequence[int]) -> dict[int, Order]:
    """The stored orders with these ids, by id."""
    [found] = database.execute_sql(statements.FIND, (encode_numbers(order_ids),)).fetchone()
    return {order.order_id: order for order in decode_orders(found)}
