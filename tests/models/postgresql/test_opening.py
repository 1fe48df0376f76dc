"""Which databases and servers are refused, and what happens if several servers create the tables at the same time."""

import threading
from collections.abc import Iterator

import pytest

from models.clock import Clock
from models.database.address import PostgresqlUrl
from models.errors import DatabaseRefusedError, StorageError
from models.postgresql.opening import open_postgresql_store
from models.store import open_store
from tests.models.samples import new_order
from tests.models.shorthand_store import ShorthandStore
from tests.postgresql.databases import connect, drop_database, execute, name_of, new_database, temporary_database
from tests.postgresql.server import PrivateServer

pytestmark = pytest.mark.postgresql

TABLES = "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"


@pytest.fixture
def url() -> Iterator[str]:
    with temporary_database() as url:
        yield url


def opened(url: str) -> ShorthandStore:
    return ShorthandStore(open_store(PostgresqlUrl(url), clock=Clock()))


def stored_order(url: str) -> int:
    """Stores an order by a store on this database, and finds it by a second store. Returns the id of the order."""
    for _ in range(2):
        store = opened(url)
        store.connect()
        store.recover()
        store.insert(new_order(7))
        found = store.find_one(7)
        store.disconnect()
        store.close()
    return found.order_id


def refusal(url: str) -> str:
    """The reason for which the database is refused. Fails if the database is changed."""
    with connect(url) as connection:
        before = execute(connection, TABLES)
        with pytest.raises(DatabaseRefusedError) as refused:
            opened(url)
        assert execute(connection, TABLES) == before
    return str(refused.value)


def test_a_new_database_gets_tables_once(url: str) -> None:
    assert stored_order(url) == 7
    with connect(url) as connection:
        assert execute(connection, "SELECT count(*) FROM orders") == [(1,)]


def test_a_database_of_another_program_is_refused(url: str) -> None:
    with connect(url) as connection:
        execute(connection, "CREATE TABLE orders (id integer)")
        assert "another program" in refusal(url)
        assert execute(connection, "SELECT * FROM orders") == []


def test_the_tables_can_be_in_a_schema_of_their_own(url: str) -> None:
    with connect(url) as connection:
        execute(connection, "CREATE TABLE customers (id integer)")
        execute(connection, "CREATE SCHEMA shop")
        execute(connection, f"ALTER DATABASE {name_of(url)} SET search_path = shop")
    assert stored_order(url) == 7
    with connect(url) as connection:
        execute(connection, f"ALTER DATABASE {name_of(url)} SET search_path = missing")
    assert "search_path" in refusal(url)


def test_a_newer_schema_is_refused(url: str) -> None:
    assert stored_order(url) == 7
    with connect(url) as connection:
        execute(connection, "UPDATE meta SET schema = schema + 1")
        assert "newer program" in refusal(url)


def test_a_database_that_loses_commits_in_a_crash_is_refused(url: str) -> None:
    with connect(url) as connection:
        execute(connection, f"ALTER DATABASE {name_of(url)} SET synchronous_commit = off")
    assert "synchronous_commit is off" in refusal(url)


def test_a_database_with_another_encoding_is_refused(url: str) -> None:
    with connect(url) as connection:
        name = f"{name_of(url)}_latin1"
        execute(connection, f"CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0")
    other = url.replace(name_of(url), name)
    try:
        assert "must be UTF8, not LATIN1" in refusal(other)
    finally:
        drop_database(other)


@pytest.mark.slow
def test_a_server_without_syncs_is_refused() -> None:
    with PrivateServer("fsync=off") as server:
        assert "fsync is off" in refusal(server.url())


def test_a_role_without_privileges_gets_a_clear_error(url: str) -> None:
    with connect(url) as connection:
        execute(connection, f"CREATE ROLE {name_of(url)} LOGIN")
        try:
            with pytest.raises((DatabaseRefusedError, StorageError), match="permission denied for schema public"):
                opened(url.replace("//orders@", f"//{name_of(url)}@"))
        finally:
            execute(connection, f"DROP ROLE {name_of(url)}")


@pytest.mark.slow
def test_a_database_that_does_not_exist_gets_a_clear_error() -> None:
    url = new_database()
    drop_database(url)
    with pytest.raises((DatabaseRefusedError, StorageError), match=f'database "{name_of(url)}" does not exist'):
        opened(url)


def test_no_error_contains_the_password() -> None:
    for url in ("postgresql://orders:secret@127.0.0.1:1/orders", "postgresql://orders:sec%zzret@127.0.0.1/orders"):
        address = PostgresqlUrl(url)
        assert "ret" not in f"{address} {address!r}"
    with pytest.raises(DatabaseRefusedError) as refused:
        open_postgresql_store(PostgresqlUrl("postgresql://orders:sec%zzret@127.0.0.1/orders"), clock=Clock())
    assert "ret" not in str(refused.value)


def test_servers_that_start_at_the_same_time_create_the_tables_once(url: str) -> None:
    starts = 4
    barrier = threading.Barrier(starts)
    errors: list[BaseException] = []

    def start() -> None:
        barrier.wait()
        try:
            opened(url)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=start) for _ in range(starts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert stored_order(url) == 7


def test_a_start_waits_for_another_one_that_changes_the_schema(url: str) -> None:
    """The other start holds the lock of the steps, and has created a table that is not committed yet."""
    started = threading.Thread(target=lambda: opened(url))
    with connect(url) as connection:
        with connection.transaction():
            # The key is the name "ORDR": the lock must stay the same in all versions.
            execute(connection, "SELECT pg_advisory_xact_lock(%s)", 0x4F524452)
            started.start()
            waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = %s"
            [[database]] = execute(connection, "SELECT oid FROM pg_database WHERE datname = current_database()")
            while execute(connection, waiting, database) != [(1,)]:
                assert started.is_alive()
        started.join()
    assert stored_order(url) == 7
