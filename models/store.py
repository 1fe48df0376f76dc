"""The interface of an order store. `models/sqlite/` and `models/postgresql/` implement it.

Every method that reads or writes blocks the thread of its caller. Unless its docstring says otherwise, the method runs
one transaction. If it raises a StorageError other than CommitUnknownError, it has changed nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from models.changes.feed import Feed
from models.clock import Clock
from models.database.address import DatabaseAddress, PostgresqlUrl
from models.database.health import StorageStatus, Work
from models.errors import StartRefusedError
from models.listing import HIGHEST, Listing, Page
from models.measurements import Measurement
from models.order import Attempt, AttemptRecord, Found, Totals
from models.progress import Report
from models.sqlite.files.opening import open_sqlite_store
from models.transactions.archiving import ExpiredOrders
from models.writes.attempts import Outcome
from models.writes.result import WriteResult
from models.writes.write import AnyWrite

PSYCOPG = "psycopg[binary]==3.3.9"
"""The optional package that a server on PostgreSQL needs."""


class Store(Protocol):
    """Orders and their totals in one database. Implemented by `SqliteStore` and `PostgresqlStore`."""

    @property
    def is_paused(self) -> bool:
        """Whether processing is paused, as of the last commit. Correct after `recover`. Can be read on any thread.

        Becomes correct with the next call of `tend` or `write` if another server has paused or resumed processing.
        """

    @property
    def resumes(self) -> int | None:
        """How often any server has resumed processing, as of the last call of `tend`. Can be read on any thread.

        Also counts resumes while processing was not paused. None before the first call, and if this is the only server.
        """

    @property
    def living_servers(self) -> int:
        """How many servers use the database, this one included, as of `recover` or the last call of `tend`.

        Servers whose lease has expired do not count. Can be read on any thread.
        """

    @property
    def feed(self) -> Feed | None:
        """The changes of all servers on the database. None if no other server can change orders."""

    def is_up(self, work: Work) -> bool:
        """False from a failure of this kind of work until `probe` succeeds. Can be called on any thread.

        If an error possibly concerns only some orders, the store calls `probe`. If `probe` succeeds, the error is not a
        failure of this kind of work. After a failure, the store also calls `probe` when an order has been stored or
        read.
        """

    def connect(self) -> None:
        """Opens a connection for the calling thread. A thread that reads or writes needs a connection."""

    def disconnect(self) -> None:
        """Closes the calling thread's connection, if it has one."""

    def recover(self, outcome_of: Callable[[Attempt], Outcome], *, longest_delay_us: int = HIGHEST) -> int:
        """Records `outcome_of(attempt)` for each attempt that a crash interrupted.

        Converts the due times that the previous process stored to the steady time of this process. If a retry would be
        due after more than `longest_delay_us` microseconds, the wall clock was probably set back, so the retry becomes
        due now. Returns the number of recorded outcomes. Must be called once, before the first claim. An order whose
        outcome can't be recorded is skipped, as `write` documents.
        """

    def tend(self) -> bool:
        """Tells other servers that this server is alive, and takes over the orders of servers that died.

        Must be called about once a second after `recover`, on the thread that writes. Records the outcomes of their
        attempts with the function that was passed to `recover`. Returns whether other servers use the database: if so,
        orders can become ready without a write of this server. A SQLite file has only one server.
        """

    def write(self, batch: Sequence[AnyWrite], *, max_pending: int | None = None) -> list[WriteResult]:
        """Makes all changes in one transaction that is synced to disk. Returns a result for each write, in order.

        Changes take effect in this order, regardless of their positions in the batch:

        1. `FinishAndClaim` records outcomes. An outcome changes nothing if its attempt has already ended.
        2. `Cancel`, `Retry`, `RetryOrders`, `SetPaused`, `Erase` and `ArchiveOrders`.
        3. `NewOrder` and `NewOrders` store orders whose ids are not stored yet.
        4. `FinishAndClaim` claims Pending orders that are new or whose retry is due, oldest first. While processing is
           paused, it claims no orders.

        If the transaction fails because of damaged orders, the changes are made in several transactions, in the order
        above. The result for a damaged order is a StorageError. An order that was not tried, because too many other
        orders failed, has the same result. `RetryOrders` leaves damaged orders out. Raises a StorageError if all writes
        of the batch fail. If a `FinishAndClaim` fails, some of its outcomes can be recorded nevertheless.

        An order that can't be claimed, or whose outcome can't be recorded, is logged and skipped. Later calls of
        `write` try to claim or finish a skipped order again, one order at a time, and log each success.

        Stores the error texts that `Outcome.with_storable_error` returns. If the id of a new order is already stored,
        the result is `Insertion.REPLAYED` if `is_same_order` is true, else an OrderConflictError. If the order with
        this id was archived or erased, compares fingerprints instead (`models/identity/fingerprint.py`). If a new order
        would make more than `max_pending` orders Pending, it is not stored, and its result is a BacklogFullError.
        """

    def find(self, order_ids: Sequence[int]) -> list[Found]:
        """The stored order for each id; None for an id that is not stored, an error for an order that is damaged.

        The result for an archived order is an OrderArchivedError.
        """

    def list_orders(self, listing: Listing) -> Page:
        """A page of the orders that match the listing, newest first."""

    def history(self, order_id: int) -> list[AttemptRecord] | None:
        """The attempts at the order, oldest first, at most the newest 50; None if the order does not exist.

        Raises OrderArchivedError if the order was archived.

        Contains the running attempt, the attempt that completed the order, and the attempts whose `Outcome` has an
        `ending`.
        """

    def find_expired(self, *, ended_before_us: int, after: int, limit: int) -> ExpiredOrders:
        """Completed and Cancelled orders with a sequence above `after` that ended before this time, oldest first.

        An order ended at its `processed_us`, or at its `created_us` if it has no `processed_us`, because the time of a
        cancel is not stored. The result has at most `limit` orders. It can have fewer, or none, although more expired
        orders follow after its `last`. The newest order of all never expires.
        """

    def last_member(self, archive: int) -> int | None:
        """The `number` of the last `ArchiveMember` of this archive whose orders were deleted; None if there is none."""

    def may_archive(self) -> bool:
        """Whether this server may archive orders now. Must be called before each batch, always on the same thread.

        On PostgreSQL, only one server archives orders at a time, and none while a server runs whose version does not
        know archived orders. Raises a StorageError.
        """

    def scrub(self) -> bool:
        """Removes erased values from all files of the database. Must be called after an `Erase`, on any thread.

        For SQLite, this is a checkpoint that empties the WAL. Returns False if it was not possible because the database
        is being read. PostgreSQL's VACUUM removes old versions of rows by itself. Raises a StorageError.
        """

    def totals(self) -> Totals:
        """The totals after the last commit. Takes the same time for any number of orders."""

    def save_measurements(self, measurements: Sequence[Measurement], *, now_s: int) -> None:
        """Stores the measurements, each in place of an earlier one of the same interval and process.

        Deletes measurements that are too old or too new: see `MAX_INTERVALS` and `MAX_AHEAD_S` in
        `models/measurements.py`. `now_s` is the wall clock time in seconds since 1970. Must be called on the thread
        that writes.
        """

    def measurements(self, *, since_s: int) -> list[Measurement]:
        """The stored measurements of all servers of intervals that begin at or after `since_s`, oldest first."""

    def probe(self, work: Work) -> None:
        """Tests this kind of work as requests do it, and changes no order. Updates `is_up`.

        Raises a StorageError if the test fails.
        """

    def status(self) -> StorageStatus:
        """Whether reads and writes work, the number of errors, and the sizes of the files. Opens no file."""

    def close_in_child(self) -> None:
        """Closes the files that lock the database. Must be called in every forked child, which must not use the store.

        The child can outlive the server, and a new server needs the lock.
        """

    def maintain(self) -> None:
        """Does work that should run while nothing is written. Does not wait for locks or delay other threads.

        For SQLite, this is a checkpoint: it copies commits from the WAL to the database file. A StorageError means only
        that the checkpoint failed. PostgreSQL does such work by itself.
        """

    def close(self) -> None:
        """Releases the database for other servers. Must be called last. A second call does nothing."""


def open_store(database: DatabaseAddress, *, clock: Clock) -> Store:
    """Opens the store in the database, and creates the SQLite file or the PostgreSQL tables if they do not exist.

    If this function raises DatabaseRefusedError, the database is unchanged. Raises StartRefusedError if the package
    that PostgreSQL needs is not installed.
    """
    if not isinstance(database, PostgresqlUrl):
        return open_sqlite_store(database, clock=clock)
    with _needing_psycopg():
        from models.postgresql.opening import open_postgresql_store
    return open_postgresql_store(database, clock=clock)


def move_orders(file: Path, target: PostgresqlUrl, *, report: Report) -> None:
    """Moves all orders of the SQLite file to the PostgreSQL database, or continues a move that was interrupted.

    Raises StartRefusedError if this is not possible.
    """
    with _needing_psycopg():
        from models.moving.move import move
    move(file, target, report=report)


@contextmanager
def _needing_psycopg() -> Iterator[None]:
    """A context for imports of modules that import psycopg, which a server on a SQLite file does not need."""
    try:
        yield
    except ImportError as error:
        raise StartRefusedError(
            f'PostgreSQL needs the package psycopg: run pip install "{PSYCOPG}" ({error})'
        ) from error
