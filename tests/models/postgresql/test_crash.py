"""PostgreSQL crashes and starts again while a store writes: every acknowledged order is there, and none twice."""

import threading

import pytest

from models.database.address import PostgresqlUrl
from models.order import Status
from models.postgresql.connection.database import RetryingPostgresqlDatabase
from models.postgresql.opening import open_postgresql_store
from models.postgresql.store import PostgresqlStore
from models.writes.attempts import ClaimedOrders, FinishAndClaim, Outcome
from models.writes.insertion import Insertion, NewOrder
from tests.load.steps import meanwhile
from tests.models.postgresql.proxied_store import opened_store
from tests.models.postgresql.tables import check_tables, recount
from tests.models.samples import Clock, new_order
from tests.models.shorthand_store import ShorthandStore
from tests.postgresql.databases import connect, execute
from tests.postgresql.proxy import Proxy
from tests.postgresql.server import PrivateServer
from tests.process import DEADLINE_S, wait_until

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]


class Writer:
    """A thread that stores, claims and completes orders until it is told to stop."""

    def __init__(self, url: str) -> None:
        clock = Clock()
        open_postgresql_store(PostgresqlUrl(url), clock=clock)
        self._database = RetryingPostgresqlDatabase(PostgresqlUrl(url), deadline_s=60)
        self._store = ShorthandStore(PostgresqlStore(self._database, clock=clock))
        self.acknowledged = 0
        self.completed = 0
        self.error: BaseException | None = None
        self._condition = threading.Condition()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def wait_for_more(self, count: int) -> None:
        """Returns when this number of orders has been acknowledged from now on."""
        with self._condition:
            target = self.acknowledged + count
            assert self._condition.wait_for(lambda: self.acknowledged >= target or self.error, DEADLINE_S)
            assert self.error is None

    def stop(self) -> None:
        self._is_stopping = True
        self._thread.join()
        assert self.error is None

    def _run(self) -> None:
        try:
            self._store.connect()
            self._store.recover()
            self._write()
            self._store.disconnect()
        except BaseException as error:
            with self._condition:
                self.error = error
                self._condition.notify()
            raise

    def _write(self) -> None:
        outcomes: list[Outcome] = []
        while not self._is_stopping:
            orders: list[NewOrder] = [new_order(self.acknowledged + each + 1) for each in range(20)]
            *accepted, claimed = self._store.write([*orders, FinishAndClaim(outcomes, 15)])
            assert accepted == [Insertion.ACCEPTED] * len(orders)
            assert isinstance(claimed, ClaimedOrders)
            self.completed += len(outcomes)
            outcomes = [Outcome(each.sequence, each.claims, Status.COMPLETED) for each in claimed.orders]
            with self._condition:
                self.acknowledged += len(orders)
                self._condition.notify()
        self._store.finish(*outcomes)
        self.completed += len(outcomes)


def test_nothing_is_lost_and_nothing_is_written_twice_when_postgresql_crashes() -> None:
    with PrivateServer() as server:
        writer = Writer(server.url())
        for mode in ("immediate", "kill", "fast", "immediate"):
            writer.wait_for_more(200)
            server.stop(mode)
            server.start()
        writer.wait_for_more(200)
        writer.stop()
        with connect(server.url()) as connection:
            totals = recount(connection)
            check_tables(connection)
            [(count, claims)] = execute(connection, "SELECT count(*), max(claims) FROM ends")
        assert totals.orders == writer.acknowledged
        assert (totals.completed, totals.processing, count, claims) == (writer.completed, 0, writer.completed, 1)


WAIT_IN_COMMIT = """
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER waiting AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    EXECUTE FUNCTION wait()"""
IS_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query LIKE '%COMMIT%'"


def test_an_order_is_stored_again_if_its_transaction_is_lost_and_others_have_used_its_id() -> None:
    """A crash loses a transaction that was not yet on the disk. PostgreSQL then gives its id to a later one."""
    # PostgreSQL does not write the transaction to the disk before it is committed.
    with PrivateServer("wal_writer_delay=10s", "autovacuum=off") as server, Proxy(server.folder) as proxy:
        open_postgresql_store(PostgresqlUrl(server.url()), clock=Clock())
        is_stored = threading.Event()

        def store_order() -> None:
            with opened_store(proxy.url("postgres"), Clock(), deadline_s=60) as store:
                with connect(server.url()) as other:
                    execute(other, WAIT_IN_COMMIT)
                assert store.insert(new_order(1)) == [Insertion.ACCEPTED]
            is_stored.set()

        with meanwhile(store_order):
            with connect(server.url()) as other:
                wait_until(lambda: execute(other, IS_WAITING) == [(1,)])
            with proxy.outage():
                server.stop("immediate")
                server.start()
                with connect(server.url()) as other:
                    execute(other, "DROP FUNCTION wait CASCADE")
                    for _ in range(100):
                        execute(other, "SELECT pg_current_xact_id()")
        assert is_stored.is_set()
        with connect(server.url()) as other:
            assert execute(other, "SELECT order_id FROM orders") == [(1,)]
