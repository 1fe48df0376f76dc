"""The primary of PostgreSQL is lost, and its synchronous standby becomes the primary, while two servers accept orders.

No acknowledged order is missing, and no server needs a restart.
"""

from collections.abc import Iterator
from functools import partial

import pytest

from tests.models.postgresql.tables import check_tables, recount
from tests.postgresql.databases import connect, execute
from tests.postgresql.replication import Replication, replication
from tests.process import PostingClients, ServerProcess, order, wait_until
from tests.server.event_reader import EventReader
from tests.server.servers import servers_on

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]


@pytest.fixture
def postgresql() -> Iterator[Replication]:
    with replication() as postgresql:
        yield postgresql


@pytest.fixture
def servers(postgresql: Replication) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """Two servers whose URL names the primary and the standby."""
    with servers_on(postgresql.url) as start:
        yield start(), start()


def is_ready(server: ServerProcess) -> bool:
    return server.get("/readyz").status == 200


def active_orders(server: ServerProcess) -> int:
    metrics = server.get("/metrics").body
    return int(metrics["pending_orders"] + metrics["processing_orders"])


def test_a_failover_under_load_loses_nothing_and_needs_no_restart(
    postgresql: Replication, servers: tuple[ServerProcess, ServerProcess]
) -> None:
    clients = [
        PostingClients(server.port, first_id=first_id)
        for server, first_id in zip(servers, (1, 100_000_001), strict=True)
    ]
    for each in clients:
        assert each.enough.wait(30)
    postgresql.primary.kill_all()
    before = [len(each.acknowledged) for each in clients]
    postgresql.promote()
    for each, count in zip(clients, before, strict=True):
        wait_until(lambda each=each, count=count: len(each.acknowledged) >= count + 200)  # type: ignore[misc]
    for each in clients:
        each.join()
        assert {(answer.status, answer.body["type"]) for answer in each.refused} <= {(503, "/problems/commit-unknown")}
    acknowledged = set().union(*(each.acknowledged for each in clients))
    for server in servers:
        wait_until(partial(is_ready, server))
        assert "Traceback" not in server.log
    wait_until(lambda: not active_orders(servers[0]))
    with connect(postgresql.standby.url()) as connection:
        stored = {order_id for [order_id] in execute(connection, "SELECT order_id FROM orders")}
        assert acknowledged - stored == set()
        check_tables(connection)
        totals = recount(connection)
        assert totals.completed == totals.orders == len(stored)
    assert {server.get("/metrics").body["completed_orders"] for server in servers} == {len(stored)}
    assert [server.stop() for server in servers] == [0, 0]


def test_readers_of_events_learn_that_events_are_missing_after_a_failover(
    postgresql: Replication, servers: tuple[ServerProcess, ServerProcess]
) -> None:
    first, second = servers
    with EventReader(first) as staying, EventReader(first) as moving:
        assert first.post(order(1)).status == 202
        for reader in (staying, moving):
            reader.until_ended(1)
            assert {each.type for each in reader.messages} == {"order"}
            reader.messages.clear()
        moving.close()
        postgresql.primary.kill_all()
        postgresql.promote()
        for server in servers:
            wait_until(partial(is_ready, server))
        moving.connect(second)
        for reader in (staying, moving):
            assert [each.type for each in reader.until(1)] == ["reset"]
            reader.messages.clear()
        assert second.post(order(2)).status == 202
        for reader in (staying, moving):
            assert {each.json["order_id"] for each in reader.until_ended(1)} == {2}
        assert staying.messages == moving.messages


def test_orders_are_refused_while_the_standby_is_down(
    postgresql: Replication, servers: tuple[ServerProcess, ServerProcess]
) -> None:
    """A 202 would promise that the order survives the loss of the primary."""
    first, second = servers
    assert first.post(order(1)).status == 202
    postgresql.standby.stop()
    answer = second.post(order(2))
    assert (answer.status, answer.headers["Retry-After"] is None) == (503, False)
    postgresql.standby.start()
    for server in servers:
        wait_until(partial(is_ready, server))
    assert first.post(order(2)).status == 202
    postgresql.primary.kill_all()
    postgresql.promote()
    for server in servers:
        wait_until(partial(is_ready, server))
        for order_id in (1, 2):
            found = server.get(f"/order/{order_id}?wait=30").body
            assert (found["status"], found["attempts"]) == ("Completed", 1)
        assert "Traceback" not in server.log
