"""Opens a database file, or rejects it and leaves it unchanged. Runs on the main thread."""

import contextlib
import os
import sqlite3
from pathlib import Path

import peewee

from models.clock import Clock
from models.errors import DatabaseRefusedError
from models.sqlite.database import LOCK_DEADLINE_S, RetryingSqliteDatabase
from models.sqlite.files.file_format import DATABASE_MAGIC
from models.sqlite.files.leftover_wal import check_leftover_wal
from models.sqlite.files.owner import check_owner
from models.sqlite.files.replacement import lock_database
from models.sqlite.schema.migrations import SCHEMA_VERSION, migrate
from models.sqlite.store import SqliteStore

MINIMUM_SQLITE = (3, 38, 0)
"""The oldest version of SQLite that works: the `->>` operator needs 3.38, and UPDATE … FROM needs 3.33."""

WAL_PAGES = 4_000
"""When a commit makes the WAL at least this many pages long (about 16 MiB), SQLite runs a checkpoint. The orders of
that commit wait for the checkpoint. SQLite's default is 1,000 pages."""
_PAGE_BYTES = 4_096
_PRAGMAS = {
    "journal_mode": "wal",
    # In WAL mode, FULL syncs the WAL at every commit (https://www.sqlite.org/pragma.html#pragma_synchronous).
    "synchronous": "full",
    # Overwrites deleted content with zeros. SQLite's default on Debian. Copies of rows can remain in unused bytes of
    # pages from which SQLite has moved the rows: see "Traces in the file" in models/README.md.
    "secure_delete": "on",
    # On macOS, fsync alone does not sync to disk. No effect on other systems.
    "fullfsync": 1,
}
# The first bytes of a WAL and of a rollback journal (https://www.sqlite.org/fileformat.html#wal_file_format,
# #the_rollback_journal).
_WAL_MAGIC = bytes.fromhex("377f06")
_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
_JOURNAL_INITIAL_PAGES = slice(16, 20)
"""The field of a rollback journal that has the size of the database before the transaction, in pages."""
_MIN_JOURNAL_BYTES = 512


def open_sqlite_store(path: Path, *, clock: Clock) -> SqliteStore:
    """Opens the store in the file `path`, and locks it against other servers until the store is closed.

    If this function raises DatabaseRefusedError, the file is unchanged.
    """
    check_path(path)
    lock = lock_database(path)
    try:
        store = SqliteStore(open_database(path), clock=clock, lock=lock)
    except BaseException:
        lock.discard()
        raise
    lock.unlock_lock_file()
    return store


def check_path(path: Path) -> None:
    """Raises DatabaseRefusedError if `path` exists and is not a regular file, or if SQLite is too old."""
    if sqlite3.sqlite_version_info < MINIMUM_SQLITE:
        needed = ".".join(map(str, MINIMUM_SQLITE))
        raise DatabaseRefusedError(f"SQLite {sqlite3.sqlite_version} is too old: {needed} or newer is needed")
    if str(path) == ":memory:":
        raise DatabaseRefusedError("orders in memory would be lost: --database must be a file")
    try:
        is_usable = path.is_file() or not path.exists()
    except OSError as error:
        raise DatabaseRefusedError(f"{path} can't be opened: {error.strerror}") from error
    if not is_usable:
        raise DatabaseRefusedError(f"{path} is not a regular file")


def open_database(
    path: Path, *, deadline_s: float = LOCK_DEADLINE_S, accepts_moved: bool = False
) -> RetryingSqliteDatabase:
    """Creates the database file `path`, or migrates it to the current schema. Closes its connection at the end.

    Rejects a file whose orders were moved to another database, unless `accepts_moved` is true. If this function raises
    DatabaseRefusedError, the file is unchanged.
    """
    check_path(path)
    real_path = Path(os.path.realpath(path))
    database = RetryingSqliteDatabase(
        str(real_path), checkpoint_pages=WAL_PAGES, deadline_s=deadline_s, pragmas=_PRAGMAS
    )
    try:
        has_content = _has_content(path, real_path)
        check_leftover_wal(real_path)
        if has_content:
            check_owner(path, deadline_s=deadline_s, accepts_moved=accepts_moved)
        with database.connection_context():
            if database.user_version < SCHEMA_VERSION:
                database.run(lambda: migrate(database))
    except (sqlite3.DatabaseError, peewee.DatabaseError) as error:
        raise DatabaseRefusedError(f"{path} can't be opened: {error}") from error
    except OSError as error:
        raise DatabaseRefusedError(f"{error.filename or path} can't be opened: {error.strerror or error}") from error
    return database


def _has_content(path: Path, real_path: Path) -> bool:
    """Whether the file contains a database. False if a database can be created: the file is missing or empty.

    Raises DatabaseRefusedError if the file can't be written or contains anything but a database.
    """
    try:
        with path.open("r+b") as file:
            magic = file.read(len(DATABASE_MAGIC))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise DatabaseRefusedError(f"{path} can't be opened: {error.strerror or error}") from error
    if not magic or _rolls_back_to_empty(real_path):
        return False
    if magic != DATABASE_MAGIC and not _may_be_restored_from_wal(real_path):
        raise DatabaseRefusedError(f"{path} is not an SQLite database")
    return True


def _rolls_back_to_empty(real_path: Path) -> bool:
    """Whether a crash interrupted the creation of the database, before its first commit and before it had a WAL.

    SQLite rolls such a file back to an empty file.
    """
    journal = _read_beginning(Path(f"{real_path}-journal"))
    return (
        real_path.stat().st_size <= _PAGE_BYTES
        and not _read_beginning(Path(f"{real_path}-wal"), 1)
        and len(journal) >= _MIN_JOURNAL_BYTES
        and journal.startswith(_JOURNAL_MAGIC)
        and not any(journal[_JOURNAL_INITIAL_PAGES])
        # A journal that also ends with its magic bytes belongs to a transaction over several databases.
        and not journal.endswith(_JOURNAL_MAGIC)
    )


def _may_be_restored_from_wal(real_path: Path) -> bool:
    """Whether a file without SQLite's header can be a database whose first page SQLite can restore from the WAL.

    A loss of power during a checkpoint can leave arbitrary bytes in the first page.
    """
    size = real_path.stat().st_size
    wal_magic = _read_beginning(Path(f"{real_path}-wal"), len(_WAL_MAGIC))
    return size > 0 and size % _PAGE_BYTES == 0 and wal_magic == _WAL_MAGIC


def _read_beginning(path: Path, limit: int = 2 * _PAGE_BYTES) -> bytes:
    """Up to `limit` bytes from the beginning of the file; no bytes if the file can't be read.

    By default, reads enough for a whole rollback journal of one page.
    """
    if path.is_file():
        with contextlib.suppress(OSError), path.open("rb") as file:
            return file.read(limit)
    return b""
