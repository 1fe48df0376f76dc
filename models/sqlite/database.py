"""A Peewee database class that retries while the database is locked. Runs on the caller's thread.

Each thread that uses the database has its own connection, and must call `connect()` first.
"""

import ctypes
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import peewee

from models.sqlite.files.open_files import OpenFiles

R = TypeVar("R")

LOCK_DEADLINE_S = 10.0
"""How many seconds a call waits by default while another connection holds the lock."""

CHECKPOINT_PAGES = 1_000
"""SQLite's default: https://www.sqlite.org/pragma.html#pragma_wal_autocheckpoint"""

KEPT_WAL_BYTES = 32 * 1024 * 1024
"""A long read of another program can make the WAL much longer. After that, it is shortened to this length."""

TRUNCATION_BYTES = 8 * 1024 * 1024
"""By how many bytes a commit shortens the WAL at most. On ext4, truncating 700 MB took 0.37 s."""

_FIRST_DELAY_S = 0.002
_MAX_DELAY_S = 0.25
_LARGE_CACHE_KIB = 8 * 1024
_SAME_LOCK_S = 1.0
"""If two calls of a thread find the database locked within this number of seconds, they share one deadline."""


class RetryingSqliteDatabase(peewee.SqliteDatabase):
    """A SqliteDatabase that retries with exponential backoff and jitter while the database is locked.

    Retries BEGIN, statements outside a transaction, and the transactions of `run`. A statement inside a transaction
    can't be retried alone. After a thread has waited for a lock for `deadline_s` seconds, raises SQLite's error. After
    that, calls of this thread are not retried until the lock is released. `clock` returns monotonic seconds; `jitter`
    returns a number from 0 to 1.

    When a commit makes the WAL at least `checkpoint_pages` pages long, SQLite runs a checkpoint. If the file of the WAL
    has become longer than `kept_wal_bytes`, the commits that begin the WAL anew shorten it again, step by step.
    """

    def __init__(
        self,
        database: str,
        *,
        checkpoint_pages: int = CHECKPOINT_PAGES,
        kept_wal_bytes: int = KEPT_WAL_BYTES,
        deadline_s: float = LOCK_DEADLINE_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
        pragmas: Mapping[str, object] | None = None,
        **options: Any,
    ) -> None:
        self._checkpoint_pages = checkpoint_pages
        self._next_checkpoint = checkpoint_pages
        self._copied_pages = 0
        self._kept_wal_bytes = kept_wal_bytes
        self._wal_limit_bytes = kept_wal_bytes
        self._deadline_s = deadline_s
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._thread_state = _ThreadState()
        # These references prevent the garbage collection in a forked child from closing a connection, which can damage
        # the database (https://www.sqlite.org/howtocorrupt.html, section 2.6). Peewee's own references are
        # thread-local, and the child loses the references of all other threads.
        self._connections: set[sqlite3.Connection] = set()
        self._files: OpenFiles | None = None
        self.was_checkpointed = False
        """Whether the database file, without its WAL, had all commits when the last transaction of `run` began."""
        # Turns off SQLite's own busy handler, which has no jitter and can't retry a transaction.
        options["pragmas"] = {
            **(pragmas or {}),
            "wal_autocheckpoint": checkpoint_pages,
            "journal_size_limit": kept_wal_bytes,
        }
        super().__init__(database, timeout=0, lock_type="IMMEDIATE", autoconnect=False, **options)

    def run(self, work: Callable[[], R]) -> R:
        """Runs `work` in one IMMEDIATE transaction and returns its result. Rolls back if `work` raises.

        Calls `work` again if the database was locked. Raises StorageUnavailableError if the database or its WAL was
        removed or replaced since the first call, and WalDamagedError if the WAL was truncated or overwritten.
        """
        files = self._files

        def transaction() -> R:
            if files:
                files.check_paths()
            with self.atomic():
                if files:
                    files.check_length()
                    self.was_checkpointed = files.is_checkpointed
                return work()

        result = self._retry(transaction)
        if files:
            files.check_wal()
            self._plan_checkpoint(files.wal_pages, files.copied_pages)
            self._limit_truncation(files.last_wal_bytes)
        else:
            # SQLite creates the WAL at the first read or write.
            self._files = OpenFiles(self.database)
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
        # SQLite can have rolled back by itself, because the disk was full or because of an I/O error
        # (https://www.sqlite.org/lang_transaction.html).
        connection: sqlite3.Connection = cast(Any, self).connection()
        if connection.in_transaction:
            super().rollback()

    def connect(self, reuse_if_open: bool = False) -> Any:
        parent: Any = super()
        is_new = self._retry(lambda: parent.connect(reuse_if_open))
        if is_new:
            self._thread_state.has_large_cache = False
        self._connections.add(parent.connection())
        return is_new

    def use_large_cache(self) -> None:
        """Gives the thread's connection a page cache of 8 MiB instead of SQLite's default of 2 MiB.

        The cache then has room for the inner pages of the indexes of 10,000,000 orders.
        """
        if not self._thread_state.has_large_cache:
            self.execute_sql(f"PRAGMA cache_size = -{_LARGE_CACHE_KIB}")
            self._thread_state.has_large_cache = True

    def close(self) -> Any:
        """Closes the thread's connection, unless the WAL is damaged. Returns whether it closed a connection.

        When the last connection is closed, SQLite copies the WAL into the database. If the WAL is damaged, pages are
        missing in it, so the copy would damage the database. In this case, the connection stays open until the process
        ends.
        """
        parent: Any = super()
        if self.is_closed():
            return False
        connection = parent.connection()
        if self._files and self._files.is_damaged:
            # Adds a reference that is never released, because Python closes a connection without references.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
            return False
        parent.close()
        self._connections.discard(connection)
        if not self._connections:
            self._files = None
            self._next_checkpoint = self._checkpoint_pages
            self._wal_limit_bytes = self._kept_wal_bytes
        return True

    @property
    def has_connections(self) -> bool:
        """Whether any thread has an open connection."""
        return bool(self._connections)

    def checkpoint(self) -> bool:
        """Copies the WAL into the database and truncates it, as far as other connections permit. Does not wait.

        Returns whether the WAL is empty. Raises WalDamagedError, and SQLite's error if SQLite can't write.
        """
        if not self._files or not self._files.wal_bytes:
            return True
        self._files.check_wal()
        connection: sqlite3.Connection = cast(Any, self).connection()
        # PASSIVE copies without a lock on writers, so TRUNCATE has little to copy while it holds that lock.
        for mode in ("PASSIVE", "TRUNCATE"):
            [is_busy, *_] = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        return not is_busy

    def _plan_checkpoint(self, wal_pages: int, copied_pages: int) -> None:
        """Sets how long the WAL must be for the next checkpoint.

        After a commit, the WAL has `wal_pages` pages, of which checkpoints have copied `copied_pages` to the database
        file. If they have copied all, the WAL begins anew. While another program reads an old version of the database,
        for example a backup, a checkpoint can copy no more pages. But it sorts all pages of the WAL, so a checkpoint in
        each commit would make commits about twice as long. Therefore, after a checkpoint that has copied nothing, the
        next one waits until the WAL has grown by an eighth.
        """
        if wal_pages < self._checkpoint_pages:
            pages = self._checkpoint_pages
        elif wal_pages < self._next_checkpoint:
            return  # this commit has made no checkpoint
        else:
            pages = self._checkpoint_pages if copied_pages > self._copied_pages else wal_pages + wal_pages // 8
        self._copied_pages = copied_pages
        if pages != self._next_checkpoint:
            self._next_checkpoint = pages
            self.execute_sql(f"PRAGMA wal_autocheckpoint = {pages}")

    def _limit_truncation(self, wal_bytes: int) -> None:
        """Sets to how many bytes SQLite truncates the WAL when it begins the WAL anew.

        Before the last commit, the file of the WAL had `wal_bytes`. A long read of another program, for example a
        backup, can make the WAL hundreds of megabytes long. SQLite truncates it in a commit, which would make the
        orders of this commit wait for hundreds of milliseconds.
        """
        surplus_bytes = wal_bytes - self._wal_limit_bytes
        if 0 < surplus_bytes <= TRUNCATION_BYTES:
            return
        limit_bytes = max(self._kept_wal_bytes, wal_bytes - TRUNCATION_BYTES // 2)
        if limit_bytes != self._wal_limit_bytes:
            self._wal_limit_bytes = limit_bytes
            self.execute_sql(f"PRAGMA journal_size_limit = {limit_bytes}")

    def _retry(self, call: Callable[[], R]) -> R:
        state = self._thread_state
        if state.retrying:
            return call()
        state.retrying = True
        try:
            return self._retry_until_deadline(call)
        finally:
            state.retrying = False

    def _retry_until_deadline(self, call: Callable[[], R]) -> R:
        state = self._thread_state
        delay_s = _FIRST_DELAY_S
        while True:
            try:
                result = call()
            except (sqlite3.OperationalError, peewee.OperationalError) as error:
                if not is_busy(error):
                    raise
                left_s = state.note_busy(self._clock()) + self._deadline_s - self._clock()
                if left_s <= 0:
                    raise
                self._sleep(min(delay_s * (0.5 + self._jitter()), left_s))
                delay_s = min(delay_s * 2, _MAX_DELAY_S)
            else:
                state.busy_since_s = None
                return result


class _ThreadState(threading.local):
    """For each thread, the time at which the thread began to wait for a lock, in monotonic seconds."""

    retrying = False
    has_large_cache = False
    busy_since_s: float | None = None
    last_busy_s = 0.0

    def note_busy(self, now_s: float) -> float:
        """Records that the database is locked. Returns the time of the first call that waited for this lock.

        Calls within `_SAME_LOCK_S` of each other are assumed to wait for the same lock.
        """
        if self.busy_since_s is None or now_s - self.last_busy_s > _SAME_LOCK_S:
            self.busy_since_s = now_s
        self.last_busy_s = now_s
        return self.busy_since_s


def is_busy(error: Exception) -> bool:
    """Whether the error means that another connection holds a lock. The error can have an extended result code."""
    code = getattr(getattr(error, "orig", error), "sqlite_errorcode", 0)
    return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
