"""Opens, copies and checks the SQLite file of a target. Functions block."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from load.chaos.databases.database import LOCK_TIMEOUT_S, Database
from load.chaos.report import TOTALS, WRONG

WRONG_BLOCKS = """
SELECT number FROM (
    SELECT sequence >> 11 AS number, min(created_us) AS lowest, max(created_us) AS highest,
        sum(DISTINCT iif(status = 'Completed', 1 << (sequence >> 6 & 31), 0)) AS bits,
        sum(status = 'Processing') AS count,
        sum(DISTINCT iif(status = 'Processing', 1 << (sequence >> 6 & 31), 0)) AS processing_bits
    FROM orders GROUP BY number)
LEFT JOIN blocks ON block = number
WHERE (lowest, highest, bits, count, processing_bits)
    IS NOT (first_us, last_us, completed & bits, processing, processing_chunks & processing_bits)"""
"""Finds blocks of 2,048 orders whose row lacks a time or a bit of an order, or has a wrong count."""


class SqliteDatabase(Database):
    """The SQLite file `path`."""

    begin_lock = "BEGIN IMMEDIATE"
    begin_snapshot = "BEGIN"
    # NOT INDEXED reads the table itself, because an index can lack some of its rows.
    orders = "SELECT order_id, status, processed_us - created_us, claims FROM orders NOT INDEXED"
    totals = "SELECT * FROM totals"
    error = sqlite3.Error

    def __init__(self, path: Path) -> None:
        super().__init__([str(path)])
        self.path = path

    async def open(self) -> None:
        """Do nothing: the server creates the file."""

    def close(self) -> None:
        """Do nothing: no connection is kept open."""

    @contextmanager
    def connect(self, *, is_read_only: bool = False, timeout_s: float = 0.0) -> Iterator[sqlite3.Connection]:
        uri = f"{self.path.absolute().as_uri()}?mode={'ro' if is_read_only else 'rw'}"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=timeout_s)) as connection:
            yield connection

    def is_busy(self, connection: Any, statement: str) -> bool:
        try:
            return bool(connection.execute(f"PRAGMA wal_checkpoint({statement})").fetchone()[0])
        except sqlite3.OperationalError as problem:
            if problem.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            return True

    def damage(self, connection: Any) -> Iterator[tuple[str, str]]:
        for (line,) in connection.execute("PRAGMA integrity_check"):
            if line != "ok":
                yield WRONG, f"integrity_check: {line}"
        for block, *_ in connection.execute(WRONG_BLOCKS):
            yield TOTALS, f"the row of block {block} does not agree with its orders"

    def copy(self, folder: Path) -> "SqliteDatabase":
        """Copy the database, which a server can be using, into `folder`, and return the copy. Raises sqlite3.Error."""
        copy = folder / self.path.name
        with (
            self.connect(is_read_only=True, timeout_s=LOCK_TIMEOUT_S) as source,
            closing(sqlite3.connect(copy)) as to,
        ):
            source.backup(to)
        return SqliteDatabase(copy)

    def index_pages(self) -> tuple[int, list[int]]:
        """Return the size of a page, and the numbers of the root pages of the indexes that new orders change."""
        sql = (
            "SELECT rootpage FROM sqlite_master WHERE type = 'index' AND tbl_name = 'orders' AND sql NOT LIKE '%WHERE%'"
        )
        with self.connect() as connection:
            [page_bytes] = connection.execute("PRAGMA page_size").fetchone()
            return page_bytes, [page for (page,) in connection.execute(sql)]
