"""Opens a database file, or refuses it and leaves it as it is. Runs on the main thread."""

import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import peewee

from models.errors import DatabaseRefusedError
from models.sqlite.database import LOCK_DEADLINE_S, RetryingSqliteDatabase
from models.sqlite.lock import DatabaseLock
from models.sqlite.schema import APPLICATION_ID, SCHEMA_VERSION, bring_up_to_date
from models.sqlite.store import SqliteStore

MINIMUM_SQLITE = (3, 38, 0)
"""The `->>` operator came with 3.38, UPDATE … FROM with 3.33."""

LOG_PAGES = 4_000
"""How many pages the log holds before they move into the database, and that is synced, while orders wait for their
commit: 16 MiB, where SQLite's default is 4."""
_PRAGMAS = {
    "journal_mode": "wal",
    # In WAL mode FULL syncs the log at every commit (https://www.sqlite.org/pragma.html#pragma_synchronous).
    "synchronous": "full",
    # fsync on macOS does not reach the disk; a no-op elsewhere.
    "fullfsync": 1,
}
# How they begin (https://www.sqlite.org/fileformat.html#magic_header_string, #wal_file_format, #the_rollback_journal).
_DATABASE, _LOG, _JOURNAL = b"SQLite format 3\0", bytes.fromhex("377f06"), bytes.fromhex("d9d505f920a163d7")
_PAGES_BEFORE = slice(16, 20)
"""Where a journal says how many pages the database had when it was begun."""
_PAGE_BYTES = 4_096
_LEAST_JOURNAL_BYTES = 512


def open_sqlite_store(path: Path, *, clock: Callable[[], int]) -> SqliteStore:
    """The store in the file `path`, locked against other servers until it is closed. See `open_database`."""
    lock = DatabaseLock(path)
    lock.acquire()
    try:
        return SqliteStore(open_database(path), clock=clock, lock=lock)
    except BaseException:
        lock.release()
        raise


def open_database(path: Path, *, deadline_s: float = LOCK_DEADLINE_S) -> RetryingSqliteDatabase:
    """The database in the file `path`, made where there is none, with today's schema and no connection open.

    Raises DatabaseRefusedError, and has then not changed the file.
    """
    if sqlite3.sqlite_version_info < MINIMUM_SQLITE:
        needed = ".".join(map(str, MINIMUM_SQLITE))
        raise DatabaseRefusedError(f"SQLite {sqlite3.sqlite_version} is too old: {needed} or newer is needed")
    if str(path) == ":memory:":
        raise DatabaseRefusedError("orders in memory would be lost: --database must be a file")
    real_path = Path(os.path.realpath(path))
    try:
        is_new = not path.exists()
    except OSError as error:
        raise DatabaseRefusedError(f"{path} can't be opened: {error.strerror}") from error
    if not (is_new or path.is_file()):
        raise DatabaseRefusedError(f"{path} is not a regular file")
    pragmas = _PRAGMAS | {"wal_autocheckpoint": LOG_PAGES}
    database = RetryingSqliteDatabase(str(real_path), deadline_s=deadline_s, pragmas=pragmas)
    try:
        if _must_be_ours(path, real_path):
            _check_ours(path, real_path, deadline_s)
        with database.connection_context():
            if database.user_version < SCHEMA_VERSION:
                database.run(lambda: bring_up_to_date(database))
    except peewee.DatabaseError as error:
        if is_new:
            for suffix in ("", "-wal", "-shm"):
                _beside(real_path, suffix).unlink(missing_ok=True)
        raise DatabaseRefusedError(f"{path} can't be opened: {error}") from error
    return database


def _must_be_ours(path: Path, real_path: Path) -> bool:
    """Whether there is a database, which has to be ours; False where it is missing or empty, and so may become one.

    A loss of power may leave anything in the first page, if that was being written: then the log has it too.
    """
    try:
        with path.open("r+b") as file:
            magic = file.read(len(_DATABASE))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise DatabaseRefusedError(f"{path} can't be opened: {error.strerror or error}") from error
    if not magic or _becomes_empty(real_path):
        return False
    if magic != _DATABASE and not _may_be_whole(real_path):
        raise DatabaseRefusedError(f"{path} is not an SQLite database")
    return True


def _becomes_empty(real_path: Path) -> bool:
    """Whether a first start was cut off, before there was a log: SQLite takes its one page back by its journal."""
    journal = _content(_beside(real_path, "-journal"))
    return (
        real_path.stat().st_size <= _PAGE_BYTES
        and not _content(_beside(real_path, "-wal"), 1)
        and len(journal) >= _LEAST_JOURNAL_BYTES
        and journal.startswith(_JOURNAL)
        and not any(journal[_PAGES_BEFORE])
        # Else it is a part of a transaction over more than one database.
        and not journal.endswith(_JOURNAL)
    )


def _may_be_whole(real_path: Path) -> bool:
    """Whether a file that does not begin as a database may be one by what its log has."""
    size = real_path.stat().st_size
    return size > 0 and size % _PAGE_BYTES == 0 and _content(_beside(real_path, "-wal"), len(_LOG)) == _LOG


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _content(path: Path, limit: int = 2 * _PAGE_BYTES) -> bytes:
    """The first bytes of a file, as far as the journal of one page goes; none where there is no file."""
    if path.is_file():
        with contextlib.suppress(OSError), path.open("rb") as file:
            return file.read(limit)
    return b""


def _check_ours(path: Path, real_path: Path, deadline_s: float) -> None:
    """Refuses another program's database and a newer schema, through a connection that can't write."""
    # Reading through a log makes the files that go with it; without one there is nothing to make.
    mode = "mode=ro" if _beside(real_path, "-wal").exists() else "immutable=1"
    database = RetryingSqliteDatabase(f"{real_path.as_uri()}?{mode}", deadline_s=deadline_s, uri=True)
    with database.connection_context():
        version, owner = database.user_version, database.application_id
        if owner != APPLICATION_ID and (
            owner or version or database.execute_sql("SELECT count(*) FROM sqlite_master").fetchone()[0]
        ):
            raise DatabaseRefusedError(f"{path} is another program's database")
        if version > SCHEMA_VERSION:
            raise DatabaseRefusedError(
                f"{path} has schema version {version}, this program knows up to {SCHEMA_VERSION}: use a newer program"
            )
        if _content(real_path, len(_DATABASE)) != _DATABASE and (
            database.execute_sql("PRAGMA quick_check(1)").fetchone() != ("ok",)
        ):
            raise DatabaseRefusedError(f"{path} is not an SQLite database")
