"""The connection to SQLite: the database class that retries.

Connections are per thread. A thread that never called `connect()` gets an error instead of a hidden connection.
"""

import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

import peewee

from models.errors import StorageUnavailableError

R = TypeVar("R")

LOCK_DEADLINE_S = 10.0

_FIRST_DELAY_S = 0.002
_LONGEST_DELAY_S = 0.25
_SAME_LOCK_S = 1.0
"""A lock that is met again this soon is taken for the same one."""


class RetryingSqliteDatabase(peewee.SqliteDatabase):
    """A SqliteDatabase that waits for SQLite's locks with jittered exponential backoff, up to a deadline.

    BEGIN, statements outside a transaction, and whole transactions given to `run` are retried; a statement inside a
    transaction is not, for it can't be on its own. Once a thread has met the same lock for `deadline_s` seconds,
    SQLite's own error is raised, and calls that follow at once are tried once each until the lock is gone.
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
        self._scope = _Scope()
        # SQLite's own busy handler is off: it neither jitters nor sees a whole transaction.
        super().__init__(database, timeout=0, lock_type="IMMEDIATE", autoconnect=False, **options)

    def _files(self) -> tuple[tuple[int, int] | None, ...]:
        """Which files are at the paths of the database and its log."""
        return tuple(_identity(self.database + suffix) for suffix in ("", "-wal"))

    def run(self, work: Callable[[], R]) -> R:
        """What `work` returns, run in one IMMEDIATE transaction that is committed, or rolled back if it raises.

        Raises StorageUnavailableError where the files have been removed or replaced since this thread connected: what
        is committed to them then is lost when the process ends.
        """
        scope = self._scope

        def transaction() -> R:
            if scope.files is not None and scope.files != self._files():
                raise StorageUnavailableError("the database or its log was removed or replaced")
            with self.atomic():
                return work()

        result = self._retry(transaction)
        if scope.files is None:
            # The log is there once something has been read or written.
            scope.files = self._files()
        return result

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
        self._scope.files = None
        return self._retry(lambda: parent.connect(reuse_if_open))

    def _retry(self, call: Callable[[], R]) -> R:
        scope = self._scope
        if scope.retrying:
            return call()
        scope.retrying = True
        try:
            return self._retry_until_deadline(call)
        finally:
            scope.retrying = False

    def _retry_until_deadline(self, call: Callable[[], R]) -> R:
        scope = self._scope
        delay_s = _FIRST_DELAY_S
        while True:
            try:
                result = call()
            except (sqlite3.OperationalError, peewee.OperationalError) as error:
                if not is_busy(error):
                    raise
                left_s = scope.note_busy(self._clock()) + self._deadline_s - self._clock()
                if left_s <= 0:
                    raise
                self._sleep(min(delay_s * (0.5 + self._jitter()), left_s))
                delay_s = min(delay_s * 2, _LONGEST_DELAY_S)
            else:
                scope.busy_since_s = None
                return result


def _identity(path: str) -> tuple[int, int] | None:
    try:
        # Twice a commit, where a Path would take longer than the call.
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return found.st_dev, found.st_ino


class _Scope(threading.local):
    """What a thread knows of its connection's files and of its waiting for locks."""

    retrying = False
    busy_since_s: float | None = None
    last_busy_s = 0.0
    files: tuple[tuple[int, int] | None, ...] | None = None

    def note_busy(self, now_s: float) -> float:
        """Since when it has been busy. Calls that follow each other wait for one lock, and share its deadline."""
        if self.busy_since_s is None or now_s - self.last_busy_s > _SAME_LOCK_S:
            self.busy_since_s = now_s
        self.last_busy_s = now_s
        return self.busy_since_s


def is_busy(error: Exception) -> bool:
    """Whether SQLite says that somebody else holds a lock, whatever the extended code."""
    code = getattr(getattr(error, "orig", error), "sqlite_errorcode", 0)
    return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
