"""Servers that are killed, frozen or cut off from PostgreSQL, while others use the database.

The orders of such a server are taken over when its lease has expired, and its late results are ignored. After an outage
of PostgreSQL, each server still has its orders.
"""

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from models.postgresql.nodes.node_statements import LEASE_S
from tests.models.postgresql.tables import check_tables, recount
from tests.postgresql.databases import connect, execute, name_of, temporary_database
from tests.postgresql.proxy import Proxy
from tests.postgresql.server import PrivateServer, shared_server
from tests.process import Answer, ServerProcess, order, wait_until
from tests.server.servers import StartServer, servers_on
from tests.user_module import UserModule

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]

LONGER_THAN_A_LEASE_S = LEASE_S + 2


class Busy:
    """A server that is processing one order. Its function waits at a gate."""

    def __init__(self, module: UserModule, server: ServerProcess, order_id: int) -> None:
        self.module = module
        self.server = server
        assert server.post(order(order_id)).status == 202
        assert module.call().order_id == order_id


@contextmanager
def busy_servers(folder: Path, url: str, *order_ids: int) -> Iterator[list[Busy]]:
    """A server for each id, on the database with this URL. Each server is processing the order with this id."""
    with ExitStack() as stack:
        servers = []
        for order_id in order_ids:
            (own := folder / str(order_id)).mkdir()
            module = stack.enter_context(UserModule(own, "tell(order)\nwait_at_gate()"))
            server = stack.enter_context(module.server("--database", url))
            servers.append(Busy(module, server, order_id))
        yield servers


@pytest.fixture
def url() -> Iterator[str]:
    with temporary_database() as url:
        yield url


@pytest.fixture
def start(url: str) -> Iterator[StartServer]:
    """Starts a server that completes every order at once, on the database of the test."""
    with servers_on(url) as start:
        yield start


@pytest.fixture
def connection(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the test."""
    with connect(url) as connection:
        yield connection


def ended(server: ServerProcess, order_id: int) -> dict[str, Any]:
    found: dict[str, Any] = server.get(f"/order/{order_id}?wait=30").body
    return found


def endings(server: ServerProcess, order_id: int) -> list[str]:
    return [each["outcome"] for each in server.get(f"/order/{order_id}/attempts").body["attempts"]]


def node_of(connection: psycopg.Connection[Any], server: ServerProcess) -> int:
    """The number of the server in the database."""
    [[node]] = execute(connection, "SELECT node FROM nodes WHERE name LIKE %s", f"%:{server.pid}")
    return int(node)


def claims_of(connection: psycopg.Connection[Any]) -> list[int]:
    """How often each order was claimed."""
    statement = """SELECT coalesce(work.claims, ends.claims) FROM orders
        LEFT JOIN work USING (sequence) LEFT JOIN ends USING (sequence) ORDER BY order_id"""
    return [claims for [claims] in execute(connection, statement)]


def check(connection: psycopg.Connection[Any], servers: Sequence[ServerProcess], completed: int) -> None:
    """The database has `completed` orders, which are all Completed, and tables, totals and logs are right."""
    check_tables(connection)
    totals = recount(connection)
    assert (totals.completed, totals.orders) == (completed, completed)
    for server in servers:
        # Reads can fail for a little longer than writes.
        wait_until(lambda server=server: server.get("/metrics").status == 200)  # type: ignore[misc]
        assert server.get("/metrics").body["completed_orders"] == completed
        assert "Traceback" not in server.log


def test_a_server_that_was_frozen_for_longer_than_its_lease_comes_back(
    url: str, start: StartServer, connection: psycopg.Connection[Any], tmp_path: Path
) -> None:
    with busy_servers(tmp_path, url, 1) as [frozen]:
        other = start()
        node = node_of(connection, frozen.server)
        frozen.server.signal(signal.SIGSTOP)
        found = ended(other, 1)
        assert (found["status"], found["attempts"]) == ("Completed", 2)
        frozen.server.signal(signal.SIGCONT)
        # Its late result changes nothing.
        frozen.module.open_gate()
        assert other.stop() == 0  # it could process order 2 as well
        assert frozen.server.post(order(2)).status == 202
        assert frozen.module.call().order_id == 2
        frozen.module.open_gate()
        assert ended(frozen.server, 2)["attempts"] == 1
        assert frozen.server.get("/order/1").body == found
        assert node_of(connection, frozen.server) > node
        check(connection, [frozen.server], 2)
        assert frozen.server.stop() == 0


def test_a_server_that_was_frozen_in_a_transaction_delays_no_takeover(
    url: str, start: StartServer, connection: psycopg.Connection[Any], tmp_path: Path
) -> None:
    """The transaction of a server locks the server's row in `nodes`, and so prevents a takeover of its orders."""
    with busy_servers(tmp_path, url, 1) as [frozen]:
        other = start()
        answers: list[Answer] = []
        posting = threading.Thread(target=lambda: answers.append(frozen.server.post(order(2))))
        with frozen_in_an_insert(url, connection, frozen.server, posting):
            assert ended(other, 1)["attempts"] == 2
            # No lock of the orders remains either.
            assert other.post(order(2)).status == 202
        posting.join()
        # Order 2 is a replay.
        assert [answer.status for answer in answers] == [202]
        frozen.module.open_gate()
        for order_id in (1, 2):
            assert ended(other, order_id)["status"] == "Completed"
        check(connection, [frozen.server, other], 2)


@contextmanager
def frozen_in_an_insert(
    url: str, connection: psycopg.Connection[Any], server: ServerProcess, posting: threading.Thread
) -> Iterator[None]:
    """Starts `posting`, and freezes the server when its transaction has inserted the order, until the end of the block.

    PostgreSQL has then executed all statements that the server has sent.
    """
    execute(
        connection,
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END'",
    )
    execute(connection, "CREATE TRIGGER wait AFTER INSERT ON orders EXECUTE FUNCTION wait()")
    waiting = f"""SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database
        WHERE locktype = 'advisory' AND NOT granted AND datname = '{name_of(url)}'"""
    with connect(url) as blocker, blocker.transaction():
        execute(blocker, "SELECT pg_advisory_xact_lock(1)")
        posting.start()
        wait_until(lambda: execute(connection, waiting) == [(1,)])
        server.signal(signal.SIGSTOP)
    yield
    server.signal(signal.SIGCONT)


def test_a_server_that_was_cut_off_from_postgresql_comes_back(
    url: str, start: StartServer, connection: psycopg.Connection[Any], tmp_path: Path
) -> None:
    with Proxy(shared_server()) as proxy, busy_servers(tmp_path, proxy.url(name_of(url)), 1) as [cut_off]:
        other = start()
        node = node_of(connection, cut_off.server)
        with proxy.stall():
            found = ended(other, 1)
            assert (found["status"], found["attempts"]) == ("Completed", 2)
            # Its late result changes nothing.
            cut_off.module.open_gate()
            assert cut_off.server.post(order(2)).status == 503
        wait_until(lambda: cut_off.server.get("/readyz").status == 200)
        assert other.stop() == 0  # it could process order 2 as well
        assert cut_off.server.post(order(2)).status == 202
        assert cut_off.module.call().order_id == 2
        cut_off.module.open_gate()
        assert ended(cut_off.server, 2)["attempts"] == 1
        assert cut_off.server.get("/order/1").body == found
        assert node_of(connection, cut_off.server) > node
        check(connection, [cut_off.server], 2)


def test_servers_that_are_all_frozen_for_longer_than_a_lease_keep_their_orders(
    url: str, start: StartServer, connection: psycopg.Connection[Any], tmp_path: Path
) -> None:
    with busy_servers(tmp_path, url, 1, 2) as busy:
        idle = start()
        servers = [*(each.server for each in busy), idle]
        nodes = [node_of(connection, server) for server in servers]
        wait_for_a_lease(idle)
        for server in servers:
            server.signal(signal.SIGSTOP)
        expired = "SELECT count(*) FROM nodes WHERE beat < clock_timestamp() - make_interval(secs => %s)"
        wait_until(lambda: execute(connection, expired, LEASE_S) == [(3,)])
        for server in servers:
            server.signal(signal.SIGCONT)
        wait_for_a_lease(idle)
        for each in busy:
            each.module.open_gate()
        for order_id in (1, 2):
            assert ended(idle, order_id)["attempts"] == 1
        assert [node_of(connection, server) for server in servers] == nodes
        check(connection, servers, 2)


def wait_for_a_lease(server: ServerProcess) -> None:
    """After this wait, a server that could always reach the database can take over the orders of others."""
    server.assert_alive_for(LONGER_THAN_A_LEASE_S)


def test_the_orders_of_servers_that_are_all_killed_are_processed_by_the_next_one(
    url: str, start: StartServer, connection: psycopg.Connection[Any], tmp_path: Path
) -> None:
    with busy_servers(tmp_path, url, 1, 2, 3) as busy:
        for each in busy:
            each.server.kill()
        first, second = start(), start()
        assert [ended(first, order_id)["attempts"] for order_id in (1, 2, 3)] == [2, 2, 2]
        assert [endings(second, order_id) for order_id in (1, 2, 3)] == [["interrupted", "completed"]] * 3
        assert claims_of(connection) == [2, 2, 2]
        wait_until(lambda: execute(connection, "SELECT count(*) FROM nodes") == [(2,)])
        check(connection, [first, second], 3)


@pytest.mark.parametrize("kind", ["stopped", "crashed", "frozen"])
def test_no_server_loses_its_orders_by_an_outage_longer_than_a_lease(tmp_path: Path, kind: str) -> None:
    with (
        PrivateServer() as postgresql,
        servers_on(postgresql.url()) as start,
        busy_servers(tmp_path, postgresql.url(), 1, 2) as busy,
    ):
        idle = start()
        servers = [*(each.server for each in busy), idle]
        with connect(postgresql.url()) as connection:
            nodes = [node_of(connection, server) for server in servers]
        wait_for_a_lease(idle)
        if kind == "frozen":
            postgresql.pause()
        else:
            postgresql.stop("fast" if kind == "stopped" else "immediate")
        wait_for_a_lease(idle)
        if kind == "frozen":
            postgresql.resume()
        else:
            postgresql.start()
        for server in servers:
            wait_until(lambda server=server: server.get("/readyz").status == 200)  # type: ignore[misc]
        wait_for_a_lease(idle)
        for each in busy:
            each.module.open_gate()
        for order_id in (1, 2):
            assert ended(idle, order_id)["attempts"] == 1
        with connect(postgresql.url()) as connection:
            assert [node_of(connection, server) for server in servers] == nodes
            assert claims_of(connection) == [1, 1]
            check(connection, servers, 2)
