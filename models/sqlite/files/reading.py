"""Opens a database file for commands that only read it, also while a server uses it. Runs on the main thread."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import peewee

from models.errors import DatabaseInUseError, DatabaseRefusedError
from models.sqlite.database import LOCK_DEADLINE_S
from models.sqlite.files.leftover_wal import check_leftover_wal
from models.sqlite.files.lock import DatabaseLock
from models.sqlite.files.opening import check_path
from models.sqlite.files.owner import check_owner, read_only_uri
from models.sqlite.files.replacement import lock_database

INSTRUCTIONS = 100_000
"""How many instructions of SQLite's virtual machine run between two calls of a progress handler: a few milliseconds."""


class Snapshot(NamedTuple):
    """A connection with a read transaction, which shows the database as it was when the transaction began.

    `is_served` tells whether a server uses the database.
    """

    connection: sqlite3.Connection
    is_served: bool


@contextmanager
def snapshot(path: Path) -> Iterator[Snapshot]:
    """Opens the database at `path`. If no server uses it, no server can start until the end of the block.

    Raises DatabaseRefusedError if the file can't be read, or is not a database of this program.
    """
    check_path(path)
    if not path.exists() or not path.stat().st_size:
        raise DatabaseRefusedError(f"{path} does not exist, or is empty")
    lock = _lock(path)
    try:
        with read_snapshot(path) as connection:
            yield Snapshot(connection, is_served=lock is None)
    finally:
        if lock is not None:
            lock.release()


def _lock(path: Path) -> DatabaseLock | None:
    """Locks the database. Returns None if a server uses it."""
    try:
        lock = lock_database(path)
    except DatabaseInUseError as error:
        # A server always has a WAL. If it uses another path of the file, the WAL is at that path.
        if not Path(f"{path.resolve()}-wal").exists():
            raise DatabaseRefusedError(f"{error}: use the path that the server uses") from error
        return None
    try:
        with suppress(sqlite3.DatabaseError):  # the database is damaged, which the caller finds
            check_leftover_wal(path.resolve())
    except BaseException:
        lock.release()
        raise
    return lock


@contextmanager
def read_snapshot(path: Path) -> Iterator[sqlite3.Connection]:
    """Opens a file that is not locked. Nobody may write to it, except a server that has the file open already.

    Raises DatabaseRefusedError as `snapshot` does.
    """
    real_path = path.resolve()
    try:
        check_owner(path, accepts_empty=False)
        journal = Path(f"{real_path}-journal")
        if journal.exists() and journal.stat().st_size:
            raise DatabaseRefusedError(f"{journal} has changes that another program did not finish")
        with closing(
            sqlite3.connect(read_only_uri(real_path), uri=True, isolation_level=None, timeout=LOCK_DEADLINE_S)
        ) as connection:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            yield connection
    except (sqlite3.DatabaseError, peewee.DatabaseError) as error:
        raise DatabaseRefusedError(f"{path} can't be read: {error}") from error


@contextmanager
def interruptible(
    connection: sqlite3.Connection, on_progress: Callable[[], object], *, instructions: int = INSTRUCTIONS
) -> Iterator[None]:
    """Lets signal handlers run during long statements, and calls `on_progress` after each number of instructions.

    Raises KeyboardInterrupt if a signal handler or `on_progress` raised it: SQLite reports only an interrupt.
    """

    def handle() -> int:
        on_progress()
        return 0

    connection.set_progress_handler(handle, instructions)
    try:
        yield
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            raise KeyboardInterrupt from error
        raise
    finally:
        connection.set_progress_handler(None, 0)
