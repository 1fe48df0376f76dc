"""The state that the steps of a write transaction share. Runs on the thread that opened the transaction.

The steps are the public functions of `insertion.py`, `attempts.py` and `commands.py`.
"""

import sqlite3
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import msgspec

from models.clock import Clock
from models.errors import OrderArchivedError
from models.order import Order
from models.sqlite import archiving_statements, statements
from models.sqlite.blocks import BlockChanges
from models.sqlite.database import RetryingSqliteDatabase
from models.transactions.totals_change import TotalsChange
from models.wire import decode_orders, decode_pairs, encode_numbers

R = TypeVar("R")


class RunChangedError(Exception):
    """An attempt of a completed run had already ended. The transaction must be repeated with `trusts_runs` False."""


class Transaction:
    """The state that the steps of a transaction share. `write_summaries` must be the last step.

    All steps use the same current time: `now_us` is steady time (`models/clock.py`), and `wall_us` is wall clock time.
    The transaction can increase the number of Pending orders by at most `max_added`. Any further new order is rejected.
    `pending` is the number of Pending orders before the transaction; None if it is not known.
    Each claim begins by making at most `max_made_ready` due retries ready. The orders with the sequences in `skipped`
    are damaged, so they are neither claimed nor finished. `try_again_us` is the steady time at which one of these
    orders is tried again; None if no order is skipped. If `trusts_runs`, all attempts of completed runs are expected to
    be running. So they need not be read before they are completed.
    """

    def __init__(
        self,
        database: RetryingSqliteDatabase,
        *,
        clock: Clock,
        is_paused: bool,
        max_added: int,
        pending: int | None,
        max_made_ready: int,
        skipped: Set[int],
        try_again_us: int | None,
        trusts_runs: bool,
        has_fingerprints: bool,
    ) -> None:
        self.database = database
        self.clock = clock
        self.now_us = clock()
        self.wall_us = self.now_us + clock.step_us
        self.is_paused = is_paused
        """Whether processing is paused, so that no orders are claimed."""
        self._max_added = max_added
        self._pending = pending
        self.max_made_ready = max_made_ready
        self.skipped = skipped
        self._try_again_us = try_again_us
        self.trusts_runs = trusts_runs
        self.has_fingerprints = has_fingerprints
        """Whether there can be archived or erased orders now, with the changes of all steps so far."""
        self.change = TotalsChange()
        """The changes of the totals by the steps so far. Each step adds its own changes."""
        self.blocks = BlockChanges()
        """The changes of the table `blocks` by the steps so far. Each step adds its own changes."""
        self.inserted = 0
        """How many new orders this transaction has stored so far."""
        self._connection: sqlite3.Connection = cast(Any, database).connection()
        self._changes_before = self._connection.total_changes

    @property
    def room(self) -> int:
        """How many more new orders can be stored in this transaction."""
        return max(0, self._max_added - self.change.pending)

    @property
    def has_pending(self) -> bool:
        """Whether there can be Pending orders now, with the changes of all steps so far."""
        return self._pending is None or self._pending + self.change.pending > 0

    def find(self, order_ids: Sequence[int]) -> dict[int, Order]:
        """Maps these ids to the stored orders, with the changes of all steps so far. Omits ids that are not stored."""
        return find_orders(self.database, order_ids)

    def find_fingerprints(self, order_ids: str) -> dict[int, int]:
        """Maps the ids of archived and erased orders to their fingerprints. Omits all other ids.

        `order_ids` is a JSON array of ids or of packed orders (`models/sqlite/packed_orders.py`).
        """
        return find_fingerprints(self.database, order_ids) if self.has_fingerprints else {}

    def with_archived(self, order_ids: Sequence[int], results: Sequence[R]) -> list[R | OrderArchivedError]:
        """The results for these ids, with an OrderArchivedError instead of None if an order was archived."""
        missing = [order_id for order_id, result in zip(order_ids, results, strict=True) if result is None]
        archived = self.find_fingerprints(encode_numbers(missing)) if missing else {}
        return [
            OrderArchivedError(order_id) if order_id in archived and result is None else result
            for order_id, result in zip(order_ids, results, strict=True)
        ]

    def is_due(self, due_us: int | None) -> bool:
        """Whether `due_us` is now or in the past; false for None."""
        return due_us is not None and due_us <= self.now_us

    def next_claim_us(self, next_due_us: int | None) -> int | None:
        """The value of `ClaimedOrders.next_due_us` if the next retry is due at `next_due_us`."""
        times = [each for each in (next_due_us, self._try_again_us) if each is not None]
        return min(times, default=None)

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Undoes what the `with` block changes in the database."""
        before = self._connection.total_changes
        self.database.execute_sql("SAVEPOINT undone")
        yield
        self.database.execute_sql("ROLLBACK TO undone")
        self.database.execute_sql("RELEASE undone")
        self._changes_before += self._connection.total_changes - before

    def write_summaries(self, *, even_if_unchanged: bool) -> None:
        """The last step: adds the changes of the other steps to blocks and totals, and sets a new `totals.state`.

        Does nothing if the other steps have changed no rows, unless `even_if_unchanged` is true.
        """
        self.blocks.write(self.database)
        if even_if_unchanged or self._connection.total_changes > self._changes_before:
            self.database.execute_sql(statements.ADD_TO_TOTALS, msgspec.structs.astuple(self.change))


def find_fingerprints(database: RetryingSqliteDatabase, order_ids: str) -> dict[int, int]:
    """Maps the ids of archived and erased orders to their fingerprints: see `Transaction.find_fingerprints`."""
    [found] = database.execute_sql(archiving_statements.FIND_FINGERPRINTS, (order_ids,)).fetchone()
    return dict(decode_pairs(found))


def find_orders(database: RetryingSqliteDatabase, order_ids: Sequence[int]) -> dict[int, Order]:
    """Maps these ids to the stored orders. Omits ids that are not stored."""
    [found] = database.execute_sql(statements.FIND, (encode_numbers(order_ids),)).fetchone()
    return {order.order_id: order for order in decode_orders(found)}
