"""A PostgreSQL database for the tests of every kind of store."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import ClassVar

from models.clock import Clock
from models.order import Status, Totals
from models.postgresql.store import PostgresqlStore
from models.postgresql.transactions import MAX_MADE_READY
from tests.models.engines import StoredOrder
from tests.postgresql.databases import emptied_database, execute

_STATUS_CODES = {Status.COMPLETED: "c", Status.FAILED: "f", Status.CANCELLED: "x"}
_RECOUNT = """
SELECT count(*) FILTER (WHERE work.node IS NULL AND work.sequence IS NOT NULL),
    count(*) FILTER (WHERE work.node IS NOT NULL), count(*) FILTER (WHERE ends.status = 'c'),
    count(*) FILTER (WHERE ends.status = 'f'), count(*) FILTER (WHERE ends.status = 'x'),
    coalesce(sum(processed_us - orders.created_us) FILTER (WHERE ends.status = 'c'), 0)::bigint,
    NULL, (SELECT paused FROM meta)
FROM orders LEFT JOIN work USING (sequence) LEFT JOIN ends USING (sequence)"""
_WRONG_PLACES = """
SELECT sequence FROM orders FULL JOIN work USING (sequence) FULL JOIN ends USING (sequence)
WHERE orders.order_id IS NULL OR (work.sequence IS NULL) = (ends.sequence IS NULL)
    OR work.created_us <> orders.created_us"""
_WITHOUT_SERVER = "SELECT sequence FROM work WHERE node IS NOT NULL AND node NOT IN (SELECT node FROM nodes)"
_WITHOUT_TOTALS = "SELECT node FROM nodes WHERE node NOT IN (SELECT node FROM totals)"

_LAST_SEQUENCE = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM order_sequences"


class PostgresqlEngine:
    """Implements `Engine`, in the database that `emptied_database` returns."""

    has_gaps: ClassVar = True
    has_clock: ClassVar = True

    def __init__(self) -> None:
        database = emptied_database()
        self.name = database.name
        self._connection = database.connection
        self._store_connection = database.store_connection
        self._clock: Clock | None = None
        self._ahead_us = 0
        """The database's time minus the steady time of `_clock`."""

    def open(self, clock: Clock, *, max_made_ready: int | None = None) -> PostgresqlStore:
        # The leases of processes that were killed expire.
        execute(self._connection, "UPDATE nodes SET beat = '-infinity'")
        # The database's time goes on as if the processes had different clocks.
        self._ahead_us = self._clock() + self._ahead_us - clock() if self._clock else 0
        self._clock = clock
        return PostgresqlStore(
            self._store_connection,
            clock=clock,
            max_made_ready=max_made_ready or MAX_MADE_READY,
            read_database_us=partial(self._database_us, clock, self._ahead_us),
        )

    @staticmethod
    def _database_us(clock: Clock, ahead_us: int) -> int:
        return clock() + ahead_us

    def put(self, orders: Sequence[StoredOrder]) -> None:
        with self._connection.transaction():
            execute(self._connection, "DELETE FROM orders")
            execute(self._connection, "DELETE FROM work")
            execute(self._connection, "DELETE FROM ends")
            for order in orders:
                self._put_one(order)

    def _put_one(self, order: StoredOrder) -> None:
        execute(
            self._connection,
            "INSERT INTO orders (sequence, order_id, user_id, total_amount, created_us, item_ids) "
            "VALUES (%s, %s, %s, 1, %s, '[1]')",
            order.sequence,
            order.sequence,
            order.user_id,
            order.created_us,
        )
        if code := _STATUS_CODES.get(order.status):
            statement = "INSERT INTO ends (sequence, status, attempts, claims) VALUES (%s, %s, 0, 0)"
            execute(self._connection, statement, order.sequence, code)
            return
        is_running = order.status is Status.PROCESSING
        execute(
            self._connection,
            "INSERT INTO work (sequence, created_us, node, due_us, attempts, claims) VALUES (%s, %s, %s, %s, 0, 0)",
            order.sequence,
            order.created_us,
            1 if is_running else None,
            None if is_running else order.due_us,
        )

    def recount(self) -> Totals:
        [row] = execute(self._connection, _RECOUNT)
        return Totals(*row)

    def last_sequence(self) -> int:
        [[last]] = execute(self._connection, _LAST_SEQUENCE)
        return int(last)

    def check(self) -> None:
        for statement in (_WRONG_PLACES, _WITHOUT_SERVER, _WITHOUT_TOTALS):
            assert execute(self._connection, statement) == []

    @contextmanager
    def refuse_new_orders(self) -> Iterator[None]:
        execute(self._connection, "ALTER TABLE orders ADD CONSTRAINT refused CHECK (false) NOT VALID")
        yield
        execute(self._connection, "ALTER TABLE orders DROP CONSTRAINT refused")

    def close(self) -> None:
        """Does nothing: the connections are used again by the next test."""
