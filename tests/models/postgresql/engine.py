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
from tests.models.postgresql.tables import FILL_BLOCKS, check_tables, recount
from tests.postgresql.databases import emptied_database, execute

_STATUS_CODES = {Status.COMPLETED: "c", Status.FAILED: "f", Status.CANCELLED: "x"}
_SET_SEQUENCE = "SELECT setval('order_sequences', greatest(last_value, %s)) FROM order_sequences"
_LAST_SEQUENCE = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM order_sequences"


class PostgresqlEngine:
    """Implements `Engine`, in the database that `emptied_database` returns."""

    has_gaps: ClassVar = True
    rejects: ClassVar = True
    has_clock: ClassVar = True

    def __init__(self) -> None:
        database = emptied_database()
        self.name, self.url = database.name, database.url
        self._connection = database.connection
        self._store_connection = database.store_connection
        self._clock: Clock | None = None
        self._ahead_us = 0
        """The database's time minus the steady time of `_clock`."""

    def open(self, clock: Clock, *, max_made_ready: int | None = None) -> PostgresqlStore:
        # As if processes that were killed had given up their leases. So the store need not wait until the leases
        # expire.
        execute(self._connection, "UPDATE nodes SET beat = '-infinity'")
        # The database's time does not jump if the new clock differs from the old clock, as on two servers.
        self._ahead_us = self._clock() + self._ahead_us - clock() if self._clock else 0
        self._clock = clock
        return PostgresqlStore(
            self._store_connection,
            clock=clock,
            max_made_ready=max_made_ready or MAX_MADE_READY,
            read_database_us=partial(self._database_us, clock, self._ahead_us),
        )

    def expire_leases(self) -> None:
        """No server has renewed its lease for a day."""
        execute(self._connection, "UPDATE nodes SET beat = least(beat, now() - interval '1 day')")

    def server_count(self) -> int:
        """The number of servers that have a lease, even if it has expired."""
        [[count]] = execute(self._connection, "SELECT count(*) FROM nodes")
        return int(count)

    @staticmethod
    def _database_us(clock: Clock, ahead_us: int) -> int:
        return clock() + ahead_us

    def put(self, orders: Sequence[StoredOrder]) -> None:
        with self._connection.transaction():
            for table in ("orders", "work", "ends", "blocks"):
                execute(self._connection, f"DELETE FROM {table}")
            for order in orders:
                self._put_one(order)
            execute(self._connection, FILL_BLOCKS)
            last = max((order.sequence for order in orders), default=1)
            execute(self._connection, _SET_SEQUENCE, last)

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
        return recount(self._connection)

    def last_sequence(self) -> int:
        [[last]] = execute(self._connection, _LAST_SEQUENCE)
        return int(last)

    def check(self) -> None:
        check_tables(self._connection)

    @contextmanager
    def refuse_new_orders(self) -> Iterator[None]:
        execute(self._connection, "ALTER TABLE orders ADD CONSTRAINT refused CHECK (false) NOT VALID")
        yield
        execute(self._connection, "ALTER TABLE orders DROP CONSTRAINT refused")

    def close(self) -> None:
        """Does nothing: the connections are used again by the next test."""
