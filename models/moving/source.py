"""The SQLite file whose orders are moved. Used on the main thread."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from models.clock import wall_us
from models.errors import DatabaseRefusedError, MoveError, StorageDamagedError, StorageError
from models.moving import source_statements
from models.moving.batch import Batch, Recount
from models.moving.conversion import Conversion, attempt
from models.order import Status
from models.sqlite.check.check_statements import RECOUNT
from models.sqlite.damage.faults import storage_errors
from models.sqlite.database import RetryingSqliteDatabase
from models.sqlite.files.lock import DatabaseLock
from models.sqlite.files.moved import MOVED_ID
from models.sqlite.files.opening import check_path, open_database
from models.sqlite.files.replacement import lock_database
from models.sqlite.statements import CHANGE_STATE, MEASUREMENTS
from models.transactions.history import MAX_RECORDED_ATTEMPTS

MAX_ROWS = 20_000
"""A batch ends when its orders and attempts can have this number of rows."""
MAX_CHARACTERS = 8 * 1024 * 1024
"""A batch ends when its rows of the table `orders` have this number of characters."""


class Archived(NamedTuple):
    """What the totals have about archived orders."""

    completed: int
    cancelled: int
    processing_us: int


class Summary(NamedTuple):
    """The values that the file stores about all its orders. `state` changes with each write transaction.

    `processing_us` includes archived orders, `counts` does not.
    """

    state: int | None
    is_paused: bool
    clock_step_us: int
    processing_us: int
    archived: Archived
    counts: dict[Status, int]
    last_sequence: int

    @property
    def orders(self) -> int:
        """The number of all orders that were not archived."""
        return sum(self.counts.values())


class Mark(NamedTuple):
    """The mark of a file that was moved: the database to which it was moved, and the id of the move."""

    target: str
    move: str


class Source:
    """The open file. Holds the lock that a server on the file would hold, until `close`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: DatabaseLock | None = None
        self._database: RetryingSqliteDatabase | None = None

    def lock(self) -> None:
        """Locks the file. Raises DatabaseRefusedError if the file is missing or empty, or if a server uses it."""
        check_path(self.path)
        if not self.path.exists() or not self.path.stat().st_size:
            raise DatabaseRefusedError(
                f"{self.path} does not exist, or is empty: --database must be a file with orders"
            )
        self._lock = lock_database(self.path)

    def open(self) -> None:
        """Opens the file, and migrates it to the current schema as a server does. Accepts a file that was moved."""
        self._database = open_database(self.path, accepts_moved=True)
        self._database.connect()

    def close(self) -> None:
        """Closes and unlocks the file. Can be called at any time."""
        if self._database is not None:
            self._database.close()
        if self._lock is not None:
            self._lock.release()

    def summary(self) -> Summary:
        """The values that the file stores about all its orders."""
        with self._errors():
            state, paused, step_us, processing_us, *rest = self._execute(source_statements.SUMMARY).fetchone()
        *counts, last = rest[3:]
        counts_by_status = dict(zip(Status, counts, strict=True))
        return Summary(state, bool(paused), step_us, processing_us, Archived(*rest[:3]), counts_by_status, last)

    def fingerprints(self) -> Iterator[tuple[int, int]]:
        """The id and the fingerprint of each archived and each erased order."""
        with self._errors():
            yield from self._execute(source_statements.FINGERPRINTS)

    def archives(self) -> list[tuple[int, int]]:
        """The rows of the table `archives`."""
        with self._errors():
            return list(self._execute(source_statements.ARCHIVES))

    def sum_of_fingerprints(self) -> tuple[int, ...]:
        """A number of sums, which are equal if the fingerprints are equal."""
        with self._errors():
            return tuple(self._execute(source_statements.SUM_FINGERPRINTS).fetchone())

    def recount(self) -> Recount:
        """Counts the rows of the tables."""
        with self._errors():
            *counts, _, high, low = self._execute(RECOUNT).fetchone()
            [attempts] = self._execute(source_statements.COUNT_ATTEMPTS).fetchone()
        return Recount(dict(zip(Status, counts, strict=True)), (high << 32) + low, attempts)

    def batch_after(self, sequence: int, conversion: Conversion, *, max_rows: int = MAX_ROWS) -> Batch | None:
        """The orders that follow the order with this sequence; None if there are none.

        Raises MoveError if an order can't be read.
        """
        orders: list[str] = []
        work: list[str] = []
        ends: list[str] = []
        last, rows, characters = sequence, 0, 0
        try:
            with _damage():
                for row in self._execute(source_statements.ORDERS, sequence):
                    order, of_work, end = conversion.order(row)
                    orders.append(order)
                    if of_work:
                        work.append(of_work)
                    else:
                        ends.append(end)
                    last = row[0]
                    rows += 1 + min(row[source_statements.CLAIMS], MAX_RECORDED_ATTEMPTS)
                    characters += len(order)
                    if rows >= max_rows or characters >= MAX_CHARACTERS:
                        break
        except StorageError as error:
            name = self._name_after(last, conversion)
            raise MoveError(f"{self.path}: {name} can't be read: {_with_code(error)}") from error
        if not orders:
            return None
        with self._errors("an attempt"):
            attempts = [attempt(row) for row in self._execute(source_statements.ATTEMPTS, sequence, last)]
        return Batch(sequence, last, orders, work, ends, attempts)

    def measurements(self) -> str:
        """All measurements for charts, as `encode_measurements` encodes them. Without them if they are damaged."""
        with self._errors(), suppress(StorageDamagedError), storage_errors():
            [found] = self._execute(MEASUREMENTS, 0).fetchone()
            return str(found)
        return "[]"

    def mark(self) -> Mark | None:
        """The mark of the file; None if it was not moved."""
        with self._errors():
            if self._opened.application_id != MOVED_ID:
                return None
            return Mark(*self._execute(source_statements.READ_MARK).fetchone())

    def set_mark(self, *, target: str, move: str, state: int | None) -> None:
        """Marks the file as moved, so that no server starts on it. Raises MoveError if `state` is not current."""
        database = self._opened

        def write() -> None:
            if self.summary().state != state:
                raise MoveError(f"{self.path} has changed during the move: run the same command again to begin again")
            self._execute(source_statements.CREATE_MARK)
            self._execute(source_statements.INSERT_MARK, target, move, wall_us())
            self._execute(CHANGE_STATE)
            database.application_id = MOVED_ID

        with self._errors():
            database.run(write)

    @property
    def _opened(self) -> RetryingSqliteDatabase:
        if self._database is None:
            raise AssertionError("the file is not open")
        return self._database

    def _execute(self, statement: str, *parameters: object) -> Any:
        return self._opened.execute_sql(statement, parameters)

    def _name_after(self, sequence: int, conversion: Conversion) -> str:
        """Names the first order with a sequence above this one that can't be read."""
        with suppress(StorageError), _damage():
            # `sqlite3` reads one row ahead. So the order before the damaged one has possibly not been returned.
            for row in self._execute(source_statements.NEXT_ORDER, sequence):
                conversion.order(row)
                sequence = row[0]
        with suppress(StorageError), _damage():
            for [found] in self._execute(source_statements.NEXT_SEQUENCE, sequence):
                return f"the order with the sequence {found}"
        return f"an order with a sequence above {sequence}"

    @contextmanager
    def _errors(self, what: str = "the file") -> Iterator[None]:
        try:
            with _damage():
                yield
        except StorageError as error:
            raise MoveError(f"{self.path}: {what} can't be read or written: {_with_code(error)}") from error


@contextmanager
def _damage() -> Iterator[None]:
    """Converts errors of SQLite and of the conversion of rows into StorageErrors."""
    try:
        with storage_errors():
            yield
    except (ValueError, TypeError, KeyError) as error:
        # The error is not shown, because it can contain personal data.
        raise StorageDamagedError("a value is not valid", code="SQLITE_CORRUPT") from error


def _with_code(error: StorageError) -> str:
    return f"{error} ({error.code})"
