"""The store in a SQLite file. Implements `models.store.Store`, which documents the methods.

Every method runs on the caller's thread and uses that thread's connection.
"""

import contextlib
import os
import time
from collections.abc import Callable, Sequence, Set
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace

from models.changes.feed import Feed
from models.clock import Clock
from models.database.health import Damage, StorageHealth, StorageStatus, Work
from models.errors import OrderArchivedError, StorageDamagedError, StorageError
from models.listing import HIGHEST, Listing, Page
from models.measurements import Measurement, decode_measurements, encode_measurements
from models.order import Attempt, AttemptRecord, Found, Order, Totals
from models.sqlite import statements
from models.sqlite.archiving import find_expired
from models.sqlite.archiving_statements import HAS_FINGERPRINTS, LAST_MEMBER
from models.sqlite.batch import apply_batch
from models.sqlite.damage.faults import advice_for, concerns_orders, storage_errors
from models.sqlite.damage.probe import probe_reads, probe_writes
from models.sqlite.damage.split_batch import SplitBatch
from models.sqlite.database import RetryingSqliteDatabase
from models.sqlite.files.lock import DatabaseLock
from models.sqlite.history import read_history
from models.sqlite.listing import list_orders
from models.sqlite.recovery import recover
from models.sqlite.transaction import Transaction, find_fingerprints, find_orders
from models.sqlite.transactions import MAX_MADE_READY, Transactions
from models.transactions.archiving import ExpiredOrders
from models.transactions.parts import Budget, run_in_parts
from models.wire import encode_numbers
from models.writes.attempts import Outcome
from models.writes.result import WriteResult
from models.writes.write import AnyWrite

R = TypeVar("R")
F = TypeVar("F", Order, Found)

_TotalsColumns = tuple[int, int, int, int, int, int, int, int, int, int | None, int]
"""The columns: a count for each status, processing_us, paused, the numbers of waiting and of archived orders, and the
sequence and creation time of the oldest order that is due."""

_MEASUREMENTS = "the history of the charts"
"""A `Damage.what`."""


class SqliteStore:
    """A Store in `database`. `close` releases the `lock`.

    Each claim begins by making at most `max_made_ready` due retries ready. `monotonic` returns monotonic seconds.
    """

    def __init__(
        self,
        database: RetryingSqliteDatabase,
        *,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
        lock: DatabaseLock | None = None,
        max_made_ready: int = MAX_MADE_READY,
    ) -> None:
        self._database = database
        self._clock = clock
        self._monotonic = monotonic
        self._lock = lock
        self._transactions = Transactions(database, clock=clock, max_made_ready=max_made_ready)
        self._health = StorageHealth(advice=advice_for(database.database))

    @property
    def is_paused(self) -> bool:
        return self._transactions.is_paused

    @property
    def resumes(self) -> int | None:
        return None

    @property
    def living_servers(self) -> int:
        return 1

    @property
    def feed(self) -> Feed | None:
        return None

    def is_up(self, work: Work) -> bool:
        return self._health.is_up(work)

    def connect(self) -> None:
        with storage_errors():
            self._database.connect()

    def disconnect(self) -> None:
        # The last connection to close copies the WAL into the database.
        self._database.close()

    def close(self) -> None:
        if self._lock is None:
            return
        if self._database.has_connections:
            # A connection is still open. Therefore the lock keeps the database file open until the process ends:
            # closing any descriptor of this file would also release SQLite's locks on it.
            self._lock.remove_lock_file()
        else:
            self._lock.release()

    def close_in_child(self) -> None:
        if self._lock is not None:
            self._lock.close_in_child()

    def maintain(self) -> None:
        try:
            self._transactions.checkpoint()
        except StorageDamagedError as error:
            self._health.note_failure(Work.WRITES, error)
            raise

    def recover(self, outcome_of: Callable[[Attempt], Outcome], *, longest_delay_us: int = HIGHEST) -> int:
        count, damaged = recover(
            self._transactions, outcome_of, longest_delay_us=longest_delay_us, clock=self._monotonic
        )
        with contextlib.suppress(StorageError):  # `totals` has logged it
            totals = self.totals()
            self._transactions.pending, self._transactions.is_paused = totals.pending, totals.is_paused
            self._transactions.is_pending_known = True
            with storage_errors():
                [has_fingerprints] = self._database.execute_sql(HAS_FINGERPRINTS).fetchone()
            self._transactions.has_fingerprints = bool(has_fingerprints)
        for damage in damaged:
            self._health.note_damage(damage)
        return count

    def tend(self) -> bool:
        """Does nothing: no other server can use the file."""
        return False

    def write(self, batch: Sequence[AnyWrite], *, max_pending: int | None = None) -> list[WriteResult]:
        self._try_skipped_order()
        inserted = self._transactions.inserted
        try:
            results = self._transactions.run(
                lambda transaction: apply_batch(transaction, batch), max_pending=max_pending
            )
        except StorageError as error:
            results = self._write_in_parts(batch, max_pending, error)
        # Only a batch with new orders proves that writes work again. Any other batch possibly changes nothing.
        if not self._health.is_up(Work.WRITES) and self._transactions.inserted > inserted:
            self._succeeds(Work.WRITES)
        return results

    def find(self, order_ids: Sequence[int]) -> list[Found]:
        try:
            with storage_errors():
                self._database.use_large_cache()
                found = self._find(order_ids)
        except StorageError as error:
            return [self._with_wall_time(each) for each in self._find_in_parts(order_ids, error)]
        self._note_read()
        return [self._with_wall_time(each) for each in found]

    def list_orders(self, listing: Listing) -> Page:
        page = self._read("a page of a list", lambda: list_orders(self._database, listing))
        return Page([self._with_wall_time(order) for order in page.orders], page.last)

    def history(self, order_id: int) -> list[AttemptRecord] | None:
        def read() -> list[AttemptRecord] | None:
            if (history := read_history(self._database, order_id)) is None and self._archived([order_id]):
                raise OrderArchivedError(order_id)
            return history

        return self._read(f"the history of order {order_id}", read)

    def find_expired(self, *, ended_before_us: int, after: int, limit: int) -> ExpiredOrders:
        return self._read(
            "expired orders",
            lambda: find_expired(self._database, ended_before_us=ended_before_us, after=after, limit=limit),
        )

    def last_member(self, archive: int) -> int | None:
        with storage_errors():
            found = self._database.execute_sql(LAST_MEMBER, (archive,)).fetchone()
        return None if found is None else int(found[0])

    def may_archive(self) -> bool:
        return True

    def scrub(self) -> bool:
        with storage_errors():
            return self._database.checkpoint()

    def totals(self) -> Totals:
        try:
            totals = self._read_totals(statements.TOTALS, self._clock())
        except StorageError as error:
            self._note_error(Work.READS, error, [Damage("the oldest Pending order", error)])
            if not concerns_orders(error):
                raise
            return self._read_totals(statements.TOTALS_WITHOUT_OLDEST)
        self._note_read()
        return totals

    def save_measurements(self, measurements: Sequence[Measurement], *, now_s: int) -> None:
        def save(transaction: Transaction) -> None:
            transaction.database.execute_sql(statements.SAVE_MEASUREMENTS, (encode_measurements(measurements),))
            transaction.database.execute_sql(statements.DELETE_MEASUREMENTS, (now_s, now_s))

        try:
            self._transactions.run(save)
        except StorageError as error:
            self._note_error(Work.WRITES, error, [Damage(_MEASUREMENTS, error)])
            raise

    def measurements(self, *, since_s: int) -> list[Measurement]:
        [found] = self._read(
            _MEASUREMENTS, lambda: self._database.execute_sql(statements.MEASUREMENTS, (since_s,)).fetchone()
        )
        return decode_measurements(found)

    def probe(self, work: Work) -> None:
        try:
            if work is Work.WRITES:
                self._transactions.run(probe_writes)
            else:
                probe_reads(self._database)
        except StorageError as error:
            self._health.note_failure(work, error)
            raise
        self._health.note_success(work)

    def status(self) -> StorageStatus:
        path = self._database.database
        return StorageStatus(
            up={work: self._health.is_up(work) for work in Work},
            errors=self._health.errors(),
            database_bytes=_size_of(path),
            wal_bytes=_size_of(f"{path}-wal"),
            free_bytes=_free_bytes(Path(path).parent),
        )

    def _read(self, what: str, read: Callable[[], R]) -> R:
        """The result of `read`. If `read` fails because of damaged orders, `what` names the damaged part in the log."""
        try:
            with storage_errors():
                result = read()
        except StorageError as error:
            self._note_error(Work.READS, error, [Damage(what, error)])
            raise
        self._note_read()
        return result

    def _find(self, order_ids: Sequence[int]) -> list[Order | OrderArchivedError | None]:
        found = find_orders(self._database, order_ids)
        missing = [order_id for order_id in order_ids if order_id not in found]
        archived = self._archived(missing)
        return [found.get(each) or (OrderArchivedError(each) if each in archived else None) for each in order_ids]

    def _archived(self, missing: Sequence[int]) -> Set[int]:
        """The ids of the archived orders among these orders, which are not stored."""
        if not missing or not self._transactions.has_fingerprints:
            return frozenset()
        return find_fingerprints(self._database, encode_numbers(missing)).keys()

    def _with_wall_time(self, found: F) -> F:
        """The same order with its due time in wall clock time. In the database, the due time is steady time."""
        if not isinstance(found, Order) or found.due_us is None:
            return found
        return replace(found, due_us=found.due_us + self._clock.read_step())

    def _read_totals(self, statement: str, *parameters: int) -> Totals:
        with storage_errors():
            found: _TotalsColumns = self._database.execute_sql(statement, parameters).fetchone()
        *_, paused, waiting, archived, sequence, created_us = found
        oldest_us = None if sequence is None else self._clock.accepted_us(sequence, created_us)
        return Totals(*found[:6], oldest_us, bool(paused), waiting, archived)

    def _try_skipped_order(self) -> None:
        """If a skipped order must be tried again now, tries to claim or finish this order."""
        if not (order := self._transactions.skipped.take_due()):
            return
        try:
            self._transactions.run(order.work)
        except StorageError as error:
            self._transactions.skipped.add(order)
            self._note_error(Work.WRITES, error, [order.damage(error)])
        else:
            self._health.note_repair(order.name)

    def _write_in_parts(
        self, batch: Sequence[AnyWrite], max_pending: int | None, error: StorageError
    ) -> list[WriteResult]:
        """The batch failed with `error`: repeats it in parts, or raises `error` if it concerns the whole database."""
        if not concerns_orders(error):
            self._health.note_failure(Work.WRITES, error)
            raise error
        split = SplitBatch(batch, transactions=self._transactions, max_pending=max_pending, budget=self._new_budget())
        try:
            return split.write()
        finally:
            self._note_error(Work.WRITES, error, split.damaged)

    def _find_in_parts(self, order_ids: Sequence[int], error: StorageError) -> list[Found]:
        def find(part: Sequence[int]) -> list[Order | OrderArchivedError | None]:
            with storage_errors():
                return self._find(part)

        if not concerns_orders(error):
            self._health.note_failure(Work.READS, error)
            raise error
        results, damaged = run_in_parts(order_ids, find, self._new_budget())
        self._note_error(Work.READS, error, [Damage(f"order {order_id}", each) for order_id, each in damaged])
        return results

    def _new_budget(self) -> Budget:
        return Budget(concerns_orders=concerns_orders, clock=self._monotonic)

    def _note_error(self, work: Work, error: StorageError, damaged: Sequence[Damage]) -> None:
        """Records the error. A probe decides whether this kind of work fails, or only work with the `damaged` parts."""
        if not concerns_orders(error):
            self._health.note_failure(work, error)
        elif self._succeeds(work):
            for damage in damaged:
                self._health.note_damage(damage)

    def _note_read(self) -> None:
        if not self._health.is_up(Work.READS):
            self._succeeds(Work.READS)

    def _succeeds(self, work: Work) -> bool:
        with contextlib.suppress(StorageError):
            self.probe(work)
            return True
        return False


def _size_of(path: str) -> int | None:
    # Not opened: closing any descriptor of the database file would release SQLite's locks on it.
    try:
        return Path(path).stat().st_size
    except OSError:
        return None


def _free_bytes(folder: Path) -> int | None:
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize
