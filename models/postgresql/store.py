"""The store in a PostgreSQL database. Implements `models.store.Store`, which documents the methods.

Every method runs on the caller's thread and uses that thread's connection.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence, Set
from typing import TypeVar

from msgspec.structs import replace

from models.changes.feed import Feed
from models.clock import Clock
from models.database.health import StorageHealth, StorageStatus, Work
from models.errors import OrderArchivedError, StorageError
from models.listing import HIGHEST, Listing, Page
from models.measurements import Measurement, decode_measurements, encode_measurements
from models.order import Attempt, AttemptRecord, Found, Order, Totals
from models.postgresql import archiving_statements, statements
from models.postgresql.archiving import ArchivingPermission
from models.postgresql.batch import write_batch
from models.postgresql.connection.database import RetryingPostgresqlDatabase
from models.postgresql.connection.errors import concerns_orders, storage_errors
from models.postgresql.database_time import DatabaseTime
from models.postgresql.feed.reader import PostgresqlFeed
from models.postgresql.listing import list_orders
from models.postgresql.nodes.lease import Lease
from models.postgresql.nodes.node_statements import LEASE_S
from models.postgresql.nodes.server_list import ServerList
from models.postgresql.nodes.takeover import end_frozen, take_over
from models.postgresql.probe import probe_reads, probe_writes
from models.postgresql.split_batch import SplitBatch
from models.postgresql.transaction import Transaction, array, find_orders
from models.postgresql.transactions import MAX_MADE_READY, Transactions
from models.transactions.archiving import ExpiredOrders
from models.transactions.history import whole_history
from models.wire import decode_history, decode_numbers, decode_orders, decode_pairs
from models.writes.attempts import Outcome
from models.writes.result import WriteResult
from models.writes.write import AnyWrite

R = TypeVar("R")

_TotalsColumns = tuple[int, int, int, int, int, int, bool, int, int, str | None]
"""A count for each status, processing_us, whether processing is paused, the numbers of waiting and of archived orders,
and the oldest order that is due as JSON."""

RENEW_AFTER_S = 0.5
"""`tend` renews the lease only if no transaction has done so for this number of seconds."""
LISTING_ANSWER_S = 30.0
"""How many seconds PostgreSQL has for a page of a list. Most pages need milliseconds."""
FORGET_FLOOR_AFTER = 60
"""After this number of calls of `tend`, a server that is alone looks for ready orders among all orders. Another server
can have started and ended in the meantime."""
_ADVICE = "; to check the database: pg_amcheck"

_log = logging.getLogger("orders")


class PostgresqlStore:
    """A Store in `database`.

    Each claim begins by making at most `max_made_ready` due retries ready. If another server has not renewed its lease
    for `lease_s` seconds, this store takes its orders over. `monotonic` returns monotonic seconds. `read_database_us`
    replaces the database's clock.
    """

    def __init__(
        self,
        database: RetryingPostgresqlDatabase,
        *,
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
        lease_s: float = LEASE_S,
        max_made_ready: int = MAX_MADE_READY,
        read_database_us: Callable[[], int] | None = None,
    ) -> None:
        self._database = database
        self._clock = clock
        self._time = DatabaseTime(clock)
        self._lease = Lease(lease_s=lease_s, clock=monotonic)
        self._transactions = Transactions(
            database,
            clock=clock,
            database_time=self._time,
            lease=self._lease,
            max_made_ready=max_made_ready,
            read_database_us=read_database_us,
        )
        self._health = StorageHealth(advice=_ADVICE)
        self._feed = PostgresqlFeed(database)
        self._outcome_of: Callable[[Attempt], Outcome] | None = None
        self._writing_thread: int | None = None
        self._servers = ServerList(database, lease=self._lease, monotonic=monotonic)
        self._permission = ArchivingPermission()
        self._tends = 0
        self._resumes: int | None = None

    @property
    def is_paused(self) -> bool:
        return self._transactions.is_paused

    @property
    def resumes(self) -> int | None:
        return self._resumes

    @property
    def living_servers(self) -> int:
        return self._servers.living

    @property
    def feed(self) -> Feed | None:
        return self._feed

    def is_up(self, work: Work) -> bool:
        return self._health.is_up(work)

    def connect(self) -> None:
        with storage_errors():
            self._database.connect()

    def disconnect(self) -> None:
        if threading.get_ident() == self._writing_thread:
            # If this fails, the lease expires by itself.
            with contextlib.suppress(StorageError):
                self._transactions.leave()
        self._database.close()

    def close(self) -> None:
        """Does nothing: other servers can use the database at any time."""

    def close_in_child(self) -> None:
        self._database.close_in_child()

    def maintain(self) -> None:
        """Does nothing: PostgreSQL does its own maintenance."""

    def recover(self, outcome_of: Callable[[Attempt], Outcome], *, longest_delay_us: int = HIGHEST) -> int:
        self._outcome_of = outcome_of
        self._writing_thread = threading.get_ident()

        def bring_forward(transaction: Transaction) -> None:
            now_us = transaction.database_us
            transaction.execute(
                statements.BRING_FORWARD, database_us=now_us, latest_us=min(now_us + longest_delay_us, HIGHEST)
            )

        # Attempts that began before this call are interrupted, even if they were made by this store.
        self._transactions.leave()
        self._transactions.run(bring_forward)
        count = self._take_over()
        self._servers.read()
        return count

    def tend(self) -> bool:
        try:
            return self._tend()
        except StorageError as error:
            self._health.note_failure(Work.WRITES, error)
            raise

    def write(self, batch: Sequence[AnyWrite], *, max_pending: int | None = None) -> list[WriteResult]:
        inserted = self._transactions.inserted
        put_back = self._transactions.lost_claims.copy()
        try:
            results = write_batch(self._transactions, batch, put_back, max_pending=max_pending)
        except StorageError as error:
            return self._write_in_parts(batch, max_pending, error)
        del self._transactions.lost_claims[: len(put_back)]
        # Only a batch with new orders proves that writes work again. Any other batch possibly changes nothing.
        if not self._health.is_up(Work.WRITES) and self._transactions.inserted > inserted:
            self._health.note_success(Work.WRITES)
        return results

    def find(self, order_ids: Sequence[int]) -> list[Found]:
        def find() -> list[Found]:
            found = {order.order_id: order for order in find_orders(self._database.psycopg_connection, order_ids)}
            archived = self._archived([order_id for order_id in order_ids if order_id not in found])
            return [found.get(each) or (OrderArchivedError(each) if each in archived else None) for each in order_ids]

        return [self._with_wall_time(each) if isinstance(each, Order) else each for each in self._read(find)]

    def list_orders(self, listing: Listing) -> Page:
        page = self._read(lambda: list_orders(self._database, listing), answer_s=LISTING_ANSWER_S)
        return Page([self._with_wall_time(order) for order in page.orders], page.last)

    def history(self, order_id: int) -> list[AttemptRecord] | None:
        def read() -> list[AttemptRecord] | None:
            found = self._database.execute_sql(statements.HISTORY, {"order_id": order_id}).fetchone()
            if found is not None:
                return whole_history(*decode_history(found[0]))
            if self._archived([order_id]):
                raise OrderArchivedError(order_id)
            return None

        return self._read(read)

    def find_expired(self, *, ended_before_us: int, after: int, limit: int) -> ExpiredOrders:
        parameters = {"before_us": ended_before_us, "after": after, "limit": limit}
        [found] = self._read(
            lambda: self._database.execute_sql(archiving_statements.FIND_EXPIRED, parameters).fetchone(),
            answer_s=LISTING_ANSWER_S,
        )
        orders = decode_orders(found)
        return ExpiredOrders(orders, orders[-1].sequence if len(orders) == limit else None)

    def last_member(self, archive: int) -> int | None:
        statement = archiving_statements.LAST_MEMBER
        found = self._read(lambda: self._database.execute_sql(statement, {"archive": archive}).fetchone())
        return None if found is None else int(found[0])

    def may_archive(self) -> bool:
        return self._read(lambda: self._permission.ask(self._database.psycopg_connection))

    def scrub(self) -> bool:
        """Does nothing: VACUUM FULL removes old versions of rows."""
        return True

    def totals(self) -> Totals:
        values = self._totals_values()
        found: _TotalsColumns = self._read(lambda: self._database.execute_sql(statements.TOTALS, values).fetchone())
        is_paused, waiting, archived, oldest = found[6:]
        oldest_us = None if oldest is None else self._clock.accepted_us(*decode_numbers(oldest))
        return Totals(*found[:6], oldest_us, is_paused, waiting, archived)

    def _totals_values(self) -> dict[str, int]:
        return {"floor": self._transactions.floor, "database_us": self._time.of(self._clock())}

    def save_measurements(self, measurements: Sequence[Measurement], *, now_s: int) -> None:
        def save(transaction: Transaction) -> None:
            transaction.execute(statements.SAVE_MEASUREMENTS, measurements=encode_measurements(measurements))
            transaction.execute(statements.DELETE_MEASUREMENTS, now_s=now_s)

        try:
            self._transactions.run(save)
        except StorageError as error:
            if not concerns_orders(error):
                self._health.note_failure(Work.WRITES, error)
            raise

    def measurements(self, *, since_s: int) -> list[Measurement]:
        values = {"since_s": since_s}
        [found] = self._read(lambda: self._database.execute_sql(statements.MEASUREMENTS, values).fetchone())
        return decode_measurements(found)

    def probe(self, work: Work) -> None:
        try:
            if work is Work.WRITES:
                self._transactions.run(probe_writes)
            else:
                with storage_errors():
                    self._database.retry(lambda: probe_reads(self._database, self._totals_values()))
        except StorageError as error:
            self._health.note_failure(work, error)
            raise
        self._health.note_success(work)

    def status(self) -> StorageStatus:
        size: int | None = None
        if self._health.is_up(Work.READS):
            with contextlib.suppress(StorageError):
                [size] = self._read(lambda: self._database.execute_sql(statements.SIZE).fetchone())
        return StorageStatus(
            up={work: self._health.is_up(work) for work in Work},
            errors=self._health.errors(),
            database_bytes=size,
            wal_bytes=None,
            free_bytes=None,
            servers=self._servers.current(),
        )

    def _archived(self, missing: Sequence[int]) -> Set[int]:
        """The ids of the archived orders among these orders, which are not stored."""
        if not missing:
            return frozenset()
        parameters = {"order_ids": array(missing)}
        [found] = self._database.execute_sql(archiving_statements.FIND_FINGERPRINTS, parameters).fetchone()
        return dict(decode_pairs(found)).keys()

    def _tend(self) -> bool:
        if self._lease.renewed_before_s >= RENEW_AFTER_S:
            self._transactions.renew()
        others = self._servers.read()
        self._resumes = others.resumes
        self._tends += 1
        if others.exist or self._tends % FORGET_FLOOR_AFTER == 0:
            # Other servers can have made orders ready.
            self._transactions.floor = 0
        if others.have_expired:
            if count := self._take_over():
                _log.info("took over %d attempts of servers whose lease has expired", count)
            self._end_frozen()
        return others.exist

    def _end_frozen(self) -> None:
        with storage_errors():
            end_frozen(self._database.psycopg_connection, node=self._lease.node, expiry_s=self._lease.expiry_s)

    def _write_in_parts(
        self, batch: Sequence[AnyWrite], max_pending: int | None, error: StorageError
    ) -> list[WriteResult]:
        """The batch failed with `error`: repeats it in parts, or raises `error` if it concerns the whole database."""
        if not concerns_orders(error):
            self._health.note_failure(Work.WRITES, error)
            raise error
        split = SplitBatch(batch, transactions=self._transactions, max_pending=max_pending)
        try:
            return split.write()
        finally:
            # A probe decides whether writes fail, or only writes of some orders.
            with contextlib.suppress(StorageError):
                self.probe(Work.WRITES)
                for damage in split.damaged:
                    self._health.note_damage(damage)

    def _take_over(self) -> int:
        """Ends the attempts of all servers whose lease has expired. Returns how many attempts it ended."""
        outcome_of = self._outcome_of
        if outcome_of is None:
            return 0
        count = 0
        while taken_over := self._transactions.run(
            lambda transaction: take_over(transaction, outcome_of, expiry_s=self._lease.expiry_s)
        ):
            count += taken_over.attempts
        return count

    def _read(self, read: Callable[[], R], *, answer_s: float | None = None) -> R:
        """The result of `read`, which is tried again on a new connection if the connection breaks."""
        try:
            with storage_errors():
                result = self._database.retry(read, answer_s=answer_s)
        except StorageError as error:
            self._health.note_failure(Work.READS, error)
            raise
        if not self._health.is_up(Work.READS):
            self._health.note_success(Work.READS)
        return result

    def _with_wall_time(self, order: Order) -> Order:
        """The same order with its due time in wall clock time, not in the time of the database's clock."""
        if order.due_us is None:
            return order
        return replace(order, due_us=self._time.steady(order.due_us) + self._clock.read_step())
