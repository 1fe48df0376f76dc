"""The proxy forwards messages, and cuts a connection at the chosen one."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.postgresql.databases import connect, emptied_database, execute
from tests.postgresql.proxy import Ending, Proxy, Side
from tests.postgresql.server import shared_server

pytestmark = pytest.mark.postgresql


@pytest.fixture
def name() -> str:
    return emptied_database().name


@pytest.fixture
def proxy(name: str) -> Iterator[Proxy]:
    with Proxy(shared_server()) as proxy:
        yield proxy


INSERT = "INSERT INTO totals (node) VALUES (77)"
IS_STORED = "SELECT count(*) FROM totals WHERE node = 77"


@pytest.mark.parametrize(("side", "stored"), [(Side.CLIENT, 0), (Side.SERVER, 1)])
def test_the_server_has_acted_only_if_its_answer_is_cut(proxy: Proxy, name: str, side: Side, stored: int) -> None:
    with connect(proxy.url(name)) as connection:
        proxy.cut_at(side, 1)
        with pytest.raises(psycopg.OperationalError):
            execute(connection, INSERT)
        assert proxy.was_cut.is_set()
        assert connection.closed
    with connect(proxy.url(name)) as connection:
        assert execute(connection, IS_STORED) == [(stored,)]


def test_messages_are_counted(proxy: Proxy, name: str) -> None:
    with connect(proxy.url(name)) as connection:
        proxy.count()
        execute(connection, "SELECT 1")
        # Query; RowDescription, DataRow, CommandComplete, ReadyForQuery
        assert proxy.count() == {Side.CLIENT: 1, Side.SERVER: 4}
        assert not proxy.was_cut.is_set()


def test_a_silent_connection_leaves_its_transaction_open(proxy: Proxy, name: str) -> None:
    connection = connect(proxy.url(name))
    execute(connection, "BEGIN")
    execute(connection, INSERT)
    proxy.cut_at(Side.CLIENT, 1, Ending.SILENT)
    with pytest.raises(psycopg.OperationalError):
        execute(connection, "COMMIT")
    connection.close()
    with connect(proxy.url(name)) as other:
        idle = "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND backend_xid IS NOT NULL"
        assert execute(other, idle) == [("idle in transaction",)]


def test_an_outage_refuses_connections_until_it_ends(proxy: Proxy, name: str) -> None:
    with connect(proxy.url(name)) as connection:
        with proxy.outage():
            with pytest.raises(psycopg.OperationalError):
                execute(connection, "SELECT 1")
            with pytest.raises(psycopg.OperationalError):
                connect(proxy.url(name))
        with connect(proxy.url(name)) as again:
            assert execute(again, "SELECT 1") == [(1,)]
