"""A SQLite file for the tests of every kind of store."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from models.clock import Clock
from models.order import Totals
from models.sqlite.store import SqliteStore
from models.sqlite.transactions import MAX_MADE_READY
from tests.models.blocks import check_blocks, connection_of, fill_blocks
from tests.models.engines import StoredOrder
from tests.models.new_database import open_new_database

_RECOUNT = """
SELECT coalesce(sum(status = 'Pending'), 0), coalesce(sum(status = 'Processing'), 0),
    coalesce(sum(status = 'Completed'), 0), coalesce(sum(status = 'Failed'), 0), coalesce(sum(status = 'Cancelled'), 0),
    coalesce(sum(CASE status WHEN 'Completed' THEN processed_us - created_us END), 0),
    NULL, (SELECT paused = 1 FROM totals), coalesce(sum(status = 'Pending' AND due_us IS NOT NULL), 0), (
        SELECT count(*) FROM fingerprints WHERE order_id NOT IN (SELECT order_id FROM orders)) FROM orders"""
_PUT = """
INSERT INTO orders (sequence, order_id, user_id, item_ids, total_amount, status, attempts, claims, created_us, due_us)
SELECT column1, column1, column2, '[1]', 1, column3, 0, 0, column4, column5 FROM (VALUES (?, ?, ?, ?, ?))"""


class SqliteEngine:
    """Implements `Engine`. If `has_syncs` is false, commits are not synced to disk."""

    has_gaps: ClassVar = False
    rejects: ClassVar = False
    has_clock: ClassVar = False

    def __init__(self, path: Path, *, has_syncs: bool = True) -> None:
        self._database = open_new_database(path)
        self._database.connect()
        if not has_syncs:
            self._database.pragma("synchronous", 0)

    def open(self, clock: Clock, *, max_made_ready: int | None = None) -> SqliteStore:
        return SqliteStore(self._database, clock=clock, max_made_ready=max_made_ready or MAX_MADE_READY)

    def put(self, orders: Sequence[StoredOrder]) -> None:
        with self._database.atomic():
            self._database.execute_sql("DELETE FROM orders")
            for order in orders:
                self._database.execute_sql(_PUT, order)
            fill_blocks(connection_of(self._database))

    def recount(self) -> Totals:
        return Totals(*self._database.execute_sql(_RECOUNT).fetchone())

    def last_sequence(self) -> int:
        [last] = self._database.execute_sql("SELECT coalesce(max(sequence), 0) FROM orders").fetchone()
        return int(last)

    def check(self) -> None:
        check_blocks(connection_of(self._database))

    @contextmanager
    def refuse_new_orders(self) -> Iterator[None]:
        self._database.execute_sql(
            "CREATE TRIGGER refuse BEFORE INSERT ON orders BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
        yield
        self._database.execute_sql("DROP TRIGGER refuse")

    def close(self) -> None:
        assert self._database.execute_sql("PRAGMA integrity_check").fetchall() == [("ok",)]
        self._database.close()
