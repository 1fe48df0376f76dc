"""Owns what other programs do to a shop's database while its server runs; all of it blocks, on threads of their own."""

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Event

LOCK_WAIT_S = 10.0
CHECKPOINT_WAIT_S = 0.5


@contextmanager
def connected(database: Path, *, mode: str, wait_s: float = 0.0) -> Iterator[sqlite3.Connection]:
    """Open the database as "ro" or "rw", never making one; transactions are begun by hand."""
    uri = f"{database.absolute().as_uri()}?mode={mode}"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=wait_s)) as connection:
        yield connection


def hold_lock(database: Path, *, length_s: float, ended: Event) -> bool:
    """Hold SQLite's write lock for so long, or until `ended`; False where it could not be had."""
    was_held = False
    with suppress(sqlite3.Error), connected(database, mode="rw", wait_s=LOCK_WAIT_S) as connection:
        connection.execute("BEGIN IMMEDIATE")
        was_held = True
        ended.wait(length_s)
        connection.execute("ROLLBACK")
    return was_held


def checkpoint(database: Path, modes: Sequence[str], *, reader_s: float, ended: Event) -> Counter[str]:
    """Run a checkpoint of each mode, and count what came of them: "done" or "busy".

    Where `reader_s` is more than nothing, a reader holds its view of the database meanwhile, for so long at least.
    """
    came: Counter[str] = Counter()
    try:
        with connected(database, mode="rw") as reader:
            if reader_s:
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM totals").fetchone()
            with connected(database, mode="rw", wait_s=CHECKPOINT_WAIT_S) as connection:
                for mode in modes:
                    came[_checkpoint(connection, mode)] += 1
            ended.wait(reader_s)
    except sqlite3.Error as problem:
        came[str(problem)] += 1
    return came


def _checkpoint(connection: sqlite3.Connection, mode: str) -> str:
    try:
        (is_busy, _, _) = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    except sqlite3.OperationalError as problem:
        if problem.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise
        is_busy = 1
    return "busy" if is_busy else "done"


def last_due_us(database: Path) -> int:
    """Give when the last order that waits for its next attempt is due, in microseconds since 1970; 0 for none."""
    try:
        with connected(database, mode="ro", wait_s=LOCK_WAIT_S) as connection:
            sql = "SELECT max(due_us) FROM orders WHERE status = 'Pending' AND due_us IS NOT NULL"
            return connection.execute(sql).fetchone()[0] or 0
    except sqlite3.Error:
        return 0
