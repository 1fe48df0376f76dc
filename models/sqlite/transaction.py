"""The state that the steps of a write transaction share.

The steps are in `insertion.py`, `attempts.py` and `commands.py`. Runs on the thread that opened the transaction.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import msgspec

from models.clock import Clock
from models.errors import StorageDamagedError
from models.listing import HIGHEST
from models.order import Order
from models.sqlite import statements
from models.sqlite.database import RetryingSqliteDatabase
from models.sqlite.faults import storage_errors
from models.sqlite.open_files import WalDamagedError
from models.sqlite.wire import decode_orders, encode_numbers

R = TypeVar("R")

_log = logging.getLogger("orders.clock")

MAX_MADE_READY = 1_000
"""How many due retries one claim makes ready by default. This limits the duration of a commit."""

_COMMITS_LOST = (
    "{}: no more orders are accepted, and a restart loses the commits that are not in the database file yet, with up to"
    " {} orders"
)
_ADVICE = "; stop the server, copy its files, start it again, and send missing orders again"


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

    `now_us` is the current steady time of all steps, and `wall_us` the time of the wall clock. New orders are stored
    while the transaction adds at most `max_added` Pending orders to those before it. Each claim begins by making at
    most `max_made_ready` due retries ready. The orders with the sequences in `skipped` are neither claimed nor
    finished.
    """

    def __init__(
        self,
        database: RetryingSqliteDatabase,
        *,
        clock: Clock,
        is_paused: bool,
        max_added: int,
        max_made_ready: int,
        skipped: Set[int],
    ) -> None:
        self.database = database
        self.clock = clock
        self.now_us = clock()
        self.wall_us = self.now_us + clock.step_us
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
    """Runs write transactions on one thread, each synced to disk. Records the steps of the wall clock.

    `skipped` contains the sequences of the orders that could not be claimed or finished because they are damaged.
    """

    def __init__(self, database: RetryingSqliteDatabase, *, clock: Clock, max_made_ready: int) -> None:
        self.database = database
        self._clock = clock
        self._max_made_ready = max_made_ready
        self._stored_step_us = 0
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
            self._record_step()
            transaction = Transaction(
                self.database,
                clock=self._clock,
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
            if self._clock.step_us != self._stored_step_us:
                self.database.execute_sql(statements.SET_CLOCK_STEP, (self._clock.step_us,))
            return result, transaction

        with self._errors():
            result, transaction = self.database.run(run_once)
        self._is_new = False
        self._stored_step_us = self._clock.step_us
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
            text = _COMMITS_LOST.format(error, count)
            raise StorageDamagedError(text, code="SQLITE_IOERR", advice=_ADVICE) from error

    def _record_step(self) -> None:
        """Records a step of the wall clock, with the last order that was stored before it."""
        step_us = self._clock.read_step()
        if step_us == self._clock.step_us:
            return
        change_s = (step_us - self._clock.step_us) / 1_000_000
        [last_sequence] = self.database.execute_sql(statements.LAST_SEQUENCE).fetchone()
        self._clock.record_step(step_us, last_sequence=last_sequence)
        direction = "forward" if change_s > 0 else "back"
        _log.warning("the wall clock was set %s by %.1f s: retries are still made when due", direction, abs(change_s))


def find_orders(database: RetryingSqliteDatabase, order_ids: Sequence[int]) -> dict[int, Order]:
    """The stored orders with these ids, by id."""
    [found] = database.execute_sql(statements.FIND, (encode_numbers(order_ids),)).fetchone()
    return {order.order_id: order for order in decode_orders(found)}
