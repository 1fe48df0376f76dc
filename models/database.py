"""The connection to SQLite: the database class that retries, and opening a file or refusing it.

Connections are per thread. A thread that never called `connect()` gets an error instead of a hidden connection.
"""

import random
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import peewee

from models.errors import DatabaseRefusedError
from models.tables import OrderRow, TotalsRow

R = TypeVar("R")

APPLICATION_ID = 0x4F524452
"""Marks the file as ours (SQLite file format §1.3.8): "ORDR"."""
SCHEMA_VERSION = 1
LOCK_DEADLINE_S = 10.0
MINIMUM_SQLITE = (3, 38, 0)
"""The `->>` operator came with 3.38, UPDATE … FROM with 3.33."""

_FIRST_DELAY_S = 0.002
_LONGEST_DELAY_S = 0.25
_PRAGMAS = {
    "journal_mode": "wal",
    # In WAL mode FULL syncs the log at every commit (https://www.sqlite.org/pragma.html#pragma_synchronous).
    "synchronous": "full",
    # fsync on macOS does not reach the disk; a no-op elsewhere.
    "fullfsync": 1,
}


class RetryingSqliteDatabase(peewee.SqliteDatabase):
    """A SqliteDatabase that waits for SQLite's locks with jittered exponential backoff, up to a deadline.

    BEGIN, statements outside a transaction, and whole transactions given to `run` are retried; a statement inside a
    transaction is not, for it can't be on its own. After `deadline_s` seconds SQLite's own error is raised.
    """

    def __init__(
        self,
        database: str,
        *,
        deadline_s: float = LOCK_DEADLINE_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
        **options: Any,
    ) -> None:
        self._deadline_s = deadline_s
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._scope = threading.local()
        # SQLite's own busy handler is off: it neither jitters nor sees a whole transaction.
        super().__init__(database, timeout=0, lock_type="IMMEDIATE", autoconnect=False, **options)

    def run(self, work: Callable[[], R]) -> R:
        """What `work` returns, run in one IMMEDIATE transaction that is committed, or rolled back if it raises."""

        def transaction() -> R:
            with self.atomic():
                return work()

        return self._retry(transaction)

    def begin(self, lock_type: str | None = None) -> None:
        parent: Any = super()
        self._retry(lambda: parent.begin(lock_type))

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        parent: Any = super()
        if self.in_transaction():
            return parent.execute_sql(sql, params)
        return self._retry(lambda: parent.execute_sql(sql, params))

    def rollback(self) -> None:
        # A full disk or an I/O error may have rolled back already (https://www.sqlite.org/lang_transaction.html).
        connection: sqlite3.Connection = cast(Any, self).connection()
        if connection.in_transaction:
            super().rollback()

    def connect(self, reuse_if_open: bool = False) -> Any:
        parent: Any = super()
        return self._retry(lambda: parent.connect(reuse_if_open))

    def _retry(self, call: Callable[[], R]) -> R:
        if getattr(self._scope, "retrying", False):
            return call()
        self._scope.retrying = True
        try:
            return self._retry_until(self._clock() + self._deadline_s, call)
        finally:
            self._scope.retrying = False

    def _retry_until(self, deadline: float, call: Callable[[], R]) -> R:
        delay_s = _FIRST_DELAY_S
        while True:
            try:
                return call()
            except (sqlite3.OperationalError, peewee.OperationalError) as error:
                left_s = deadline - self._clock()
                if not is_busy(error) or left_s <= 0:
                    raise
                self._sleep(min(delay_s * (0.5 + self._jitter()), left_s))
                delay_s = min(delay_s * 2, _LONGEST_DELAY_S)


def is_busy(error: Exception) -> bool:
    """Whether SQLite says that somebody else holds a lock, whatever the extended code."""
    code = getattr(getattr(error, "orig", error), "sqlite_errorcode", 0)
    return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def open_database(path: Path, *, deadline_s: float = LOCK_DEADLINE_S) -> RetryingSqliteDatabase:
    """The database in the file `path`, made where there is none, with today's schema and no connection open.

    Raises DatabaseRefusedError, and has then not changed the file.
    """
    if sqlite3.sqlite_version_info < MINIMUM_SQLITE:
        needed = ".".join(map(str, MINIMUM_SQLITE))
        raise DatabaseRefusedError(f"SQLite {sqlite3.sqlite_version} is too old: {needed} or newer is needed")
    database = RetryingSqliteDatabase(str(path), deadline_s=deadline_s, pragmas=_PRAGMAS)
    try:
        if _has_content(path):
            _check_ours(path, deadline_s)
        with database.connection_context():
            if database.user_version == 0:
                database.run(lambda: _create(database))
    except peewee.DatabaseError as error:
        raise DatabaseRefusedError(f"{path} can't be opened: {error}") from error
    return database


def _has_content(path: Path) -> bool:
    """Whether there is an SQLite file; False where it is missing or empty, and so may become one."""
    try:
        with path.open("r+b") as file:
            magic = file.read(16)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise DatabaseRefusedError(f"{path} can't be opened: {error.strerror}") from error
    # https://www.sqlite.org/fileformat.html#magic_header_string
    if magic and magic != b"SQLite format 3\0":
        raise DatabaseRefusedError(f"{path} is not an SQLite database")
    return bool(magic)


def _check_ours(path: Path, deadline_s: float) -> None:
    """Refuses another program's database and a newer schema, through a connection that can't write."""
    log = path.resolve().with_name(path.resolve().name + "-wal")
    # Reading through a log makes the files that go with it; without one there is nothing to make.
    mode = "mode=ro" if log.exists() else "immutable=1"
    database = RetryingSqliteDatabase(f"{path.resolve().as_uri()}?{mode}", deadline_s=deadline_s, uri=True)
    with database.connection_context():
        version, owner = database.user_version, database.application_id
        if owner != APPLICATION_ID and (owner or version or database.get_tables()):
            raise DatabaseRefusedError(f"{path} is another program's database")
        if version > SCHEMA_VERSION:
            raise DatabaseRefusedError(
                f"{path} has schema version {version}, this program knows up to {SCHEMA_VERSION}: use a newer program"
            )


def _create(database: RetryingSqliteDatabase) -> None:
    with database.bind_ctx([OrderRow, TotalsRow]):
        database.create_tables([OrderRow, TotalsRow], safe=False)
        TotalsRow.create()
    database.application_id = APPLICATION_ID
    database.user_version = SCHEMA_VERSION
