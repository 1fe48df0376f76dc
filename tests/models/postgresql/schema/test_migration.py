"""A newer program changes the schema while servers of an older version run."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from models.clock import Clock
from models.database.address import PostgresqlUrl
from models.database.health import Work
from models.errors import DatabaseRefusedError, StorageUnavailableError
from models.order import Status
from models.postgresql.connection.database import RetryingPostgresqlDatabase
from models.postgresql.schema.migration import migrate
from models.postgresql.schema.steps import STEPS, Step
from models.postgresql.store import PostgresqlStore
from models.writes.insertion import Insertion
from tests.models.postgresql.feeds import next_part, read_statuses
from tests.models.samples import new_order
from tests.models.shorthand_store import ShorthandStore
from tests.postgresql.databases import connect, execute, temporary_database

pytestmark = pytest.mark.postgresql

ADD_OLDER_SERVER = "INSERT INTO nodes VALUES (nextval('node_ids'), now(), now(), 'old:1', 1)"
VERSION = "SELECT schema FROM meta"
NEW = "CREATE TABLE new (number integer); INSERT INTO new VALUES (1)"
COMPATIBLE = (*STEPS, Step(NEW, oldest=1))
INCOMPATIBLE = (*STEPS, Step(NEW, oldest=len(STEPS) + 1))


@pytest.fixture
def url() -> Iterator[str]:
    """The URL of a database with the tables of this version."""
    with temporary_database() as url:
        change_schema(url, STEPS)
        yield url


def change_schema(url: str, steps: tuple[Step, ...]) -> None:
    """Changes the schema as a program with these steps does when it starts."""
    database = RetryingPostgresqlDatabase(PostgresqlUrl(url), deadline_s=30)
    database.connect()
    try:
        migrate(database, "orders", steps=steps)
    finally:
        database.close()


@contextmanager
def server(url: str, order_id: int = 1) -> Iterator[ShorthandStore]:
    """The store of a server of this version that has stored and claimed an order."""
    store = ShorthandStore(PostgresqlStore(RetryingPostgresqlDatabase(PostgresqlUrl(url), deadline_s=0), clock=Clock()))
    store.connect()
    try:
        store.recover()
        assert store.insert_and_claim(new_order(order_id)).order_id == order_id
        yield store
    finally:
        store.disconnect()


def value(url: str, query: str) -> object:
    with connect(url) as connection:
        [[found]] = execute(connection, query)
        return found


def test_servers_go_on_during_a_step_that_they_can_take(url: str) -> None:
    with server(url) as store:
        change_schema(url, COMPATIBLE)
        assert (value(url, VERSION), value(url, "SELECT number FROM new")) == (len(COMPATIBLE), 1)
        assert store.insert(new_order(2)) == [Insertion.ACCEPTED]
        store.tend()


@pytest.fixture
def url_with_older_server() -> Iterator[str]:
    """The URL of a database that a server of the first version uses, which does not know of the feed.

    A newer program has then changed the schema.
    """
    with temporary_database() as url:
        change_schema(url, STEPS[:1])
        with connect(url) as connection:
            execute(connection, ADD_OLDER_SERVER)
        change_schema(url, STEPS)
        yield url


def test_servers_of_the_first_version_go_on_until_they_lose_their_leases(url_with_older_server: str) -> None:
    with connect(url_with_older_server) as connection:
        execute(connection, "UPDATE nodes SET beat = clock_timestamp()")
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="update this server"):
            execute(connection, ADD_OLDER_SERVER)


def test_a_feed_does_not_begin_while_a_server_does_not_record_its_changes(url_with_older_server: str) -> None:
    with server(url_with_older_server) as store, connect(url_with_older_server) as connection:
        assert store.feed
        # Even a server whose lease has expired can renew it, until another one has taken over.
        for beat in ("now()", "now() - interval '1 hour'"):
            execute(connection, f"UPDATE nodes SET beat = {beat} WHERE schema = 1")
            for _ in range(2):
                with pytest.raises(StorageUnavailableError, match="older version must be stopped first: old:1"):
                    store.feed.read()
            assert store.insert(new_order(2))
        execute(connection, "DELETE FROM nodes WHERE schema = 1")
        next_part(store)
        store.insert(new_order(3))
        assert read_statuses(store, 1) == [(3, Status.PENDING)]


def test_a_server_of_the_previous_version_and_one_of_this_version_read_the_same_feed() -> None:
    with temporary_database() as url:
        change_schema(url, STEPS)
        with server(url) as previous:
            # The code of the previous version is not here, but servers see only the version in this table.
            with connect(url) as connection:
                execute(connection, "UPDATE nodes SET schema = %s", len(STEPS) - 1)
            epoch = next_part(previous).epoch
            with server(url, order_id=2) as current:
                assert {next_part(each).epoch for each in (previous, current)} == {epoch}
                previous.insert(new_order(3))
                current.insert(new_order(4))
                for each in (previous, current):
                    assert read_statuses(each, 2) == [(3, Status.PENDING), (4, Status.PENDING)]


def test_a_step_is_refused_while_a_server_lives_that_can_not_take_it(url: str) -> None:
    name = "SELECT name FROM nodes"
    with server(url) as store:
        with pytest.raises(DatabaseRefusedError, match="orders: stop all servers of older versions first") as refused:
            change_schema(url, INCOMPATIBLE)
        assert str(refused.value).endswith(f"still running: {value(url, name)}")
        assert value(url, VERSION) == len(STEPS)
        # Nothing was changed.
        assert store.insert(new_order(2)) == [Insertion.ACCEPTED]
        store.finish_attempt(store.find_one(1), Status.COMPLETED)
    change_schema(url, INCOMPATIBLE)
    assert value(url, VERSION) == len(INCOMPATIBLE)


def test_a_server_that_only_seemed_to_be_dead_can_write_nothing_after_the_step(url: str) -> None:
    with server(url) as store:
        with connect(url) as connection:
            execute(connection, "UPDATE nodes SET beat = now() - interval '1 hour'")
        change_schema(url, INCOMPATIBLE)
        for _ in range(2):
            with pytest.raises(StorageUnavailableError, match="a newer version of this program has changed"):
                store.insert(new_order(2))
            with pytest.raises(StorageUnavailableError, match="a newer version of this program has changed"):
                store.recover()
        assert not store.is_up(Work.WRITES)
        assert value(url, "SELECT count(*) FROM orders") == 1


def test_servers_that_start_at_the_same_time_do_each_step_once(url: str) -> None:
    threads = [threading.Thread(target=change_schema, args=(url, INCOMPATIBLE)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (value(url, VERSION), value(url, "SELECT count(*) FROM new")) == (len(INCOMPATIBLE), 1)
