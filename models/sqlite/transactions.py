"""Runs the write transactions of a store, on the thread that writes. `checkpoint` can be called on any thread."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from models.clock import Clock
from models.errors import StorageDamagedError
from models.listing import HIGHEST
from models.sqlite import statements
from models.sqlite.damage.faults import storage_errors
from models.sqlite.damage.skipped import SkippedOrders
from models.sqlite.database import RetryingSqliteDatabase
from models.sqlite.files.open_files import WalDamagedError
from models.sqlite.transaction import RunChangedError, Transaction

R = TypeVar("R")

MAX_MADE_READY = 1_000
"""How many due retries one claim makes ready by default: a limit on the duration of a commit."""

_log = logging.getLogger("orders.clock")

_COMMITS_LOST = (
    "{}: no more orders are accepted, and a restart loses the commits that are not in the database file yet, with up to"
    " {} orders"
)
_ADVICE = "; stop the server, copy its files, start it again, and send missing orders again"


class Transactions:
    """Runs write transactions on one thread, each synced to disk.

    Also records each step of the wall clock, which means that somebody has set the clock: see `models/clock.py`.
    """

    def __init__(self, database: RetryingSqliteDatabase, *, clock: Clock, max_made_ready: int) -> None:
        self.database = database
        self._clock = clock
        self._max_made_ready = max_made_ready
        self._stored_step_us = 0
        self.skipped = SkippedOrders(clock=clock)
        self.pending = 0
        """How many orders were Pending after the latest transaction."""
        self.is_pending_known = False
        """Whether `pending` is exact. An inexact `pending` counts only the changes of this process."""
        self.is_paused = False
        """Whether processing was paused after the latest transaction."""
        self.has_fingerprints = True
        """Whether there can be archived or erased orders. Can be read on any thread."""
        self.inserted = 0
        """How many new orders the transactions have stored."""
        self._inserted_at_checkpoint = 0
        self._is_new = True

    def run(self, work: Callable[[Transaction], R], *, max_pending: int | None = None) -> R:
        """Runs `work` in one transaction, and adds its changes to the blocks and the totals. Raises a StorageError.

        A new order is not stored if it would make more than `max_pending` orders Pending. None means no limit.
        """

        def run_once(*, trusts_runs: bool) -> tuple[R, Transaction]:
            self._record_step()
            transaction = Transaction(
                self.database,
                clock=self._clock,
                is_paused=self.is_paused,
                max_added=HIGHEST if max_pending is None else max_pending - self.pending,
                pending=self.pending if self.is_pending_known else None,
                max_made_ready=self._max_made_ready,
                skipped=self.skipped.sequences,
                try_again_us=self.skipped.next_us,
                trusts_runs=trusts_runs,
                has_fingerprints=self.has_fingerprints,
            )
            if self.database.was_checkpointed:
                self._inserted_at_checkpoint = self.inserted
            result = work(transaction)
            # The first transaction always changes `totals.state`, so that two servers that continue from copies of one
            # database do not store the same state with different orders.
            transaction.write_summaries(even_if_unchanged=self._is_new)
            if self._clock.step_us != self._stored_step_us:
                self.database.execute_sql(statements.SET_CLOCK_STEP, (self._clock.step_us,))
            # Before the commit, so that a reader always finds either an order or its fingerprint.
            self.has_fingerprints = transaction.has_fingerprints
            return result, transaction

        with self._errors():
            try:
                result, transaction = self.database.run(partial(run_once, trusts_runs=True))
            except RunChangedError:
                result, transaction = self.database.run(partial(run_once, trusts_runs=False))
        self._is_new = False
        self._note_step()
        self.inserted += transaction.inserted
        self.pending += transaction.change.pending
        self.is_paused = transaction.is_paused
        return result

    def checkpoint(self) -> None:
        """Copies the WAL into the database file, as far as other connections permit. Raises a StorageError."""
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
        """Records a step of the wall clock, with the last order that was stored before the step."""
        step_us = self._clock.read_step()
        if step_us == self._clock.step_us:
            return
        [last_sequence] = self.database.execute_sql(statements.LAST_SEQUENCE).fetchone()
        self._clock.record_step(step_us, last_sequence=last_sequence)

    def _note_step(self) -> None:
        """Logs a step of the wall clock after the step has been stored in the database."""
        change_s = (self._clock.step_us - self._stored_step_us) / 1_000_000
        if change_s:
            self._stored_step_us = self._clock.step_us
            where = "forward" if change_s > 0 else "back"
            _log.warning("the wall clock was set %s by %.1f s: retries are still made when due", where, abs(change_s))
