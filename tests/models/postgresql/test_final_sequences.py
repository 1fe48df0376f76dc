"""Oldest first, a client that reads page after page misses no order, whichever server's commit is last."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from models.listing import Listing
from models.postgresql import final_sequences
from tests.models.postgresql.engine import PostgresqlEngine
from tests.models.postgresql.two_servers import Server
from tests.models.samples import new_order
from tests.postgresql.databases import connect, execute

pytestmark = pytest.mark.postgresql

_INSERT = """
INSERT INTO orders (sequence, order_id, user_id, total_amount, created_us, item_ids)
VALUES (nextval('order_sequences'), %s, 1, 1, 1, '[1]')"""
_INSERT_WORK = """
INSERT INTO work (sequence, created_us, attempts, claims) VALUES (currval('order_sequences'), 1, 0, 0)"""


@contextmanager
def order_of_a_running_transaction(engine: PostgresqlEngine, order_id: int) -> Iterator[None]:
    """Stores an order. Commits at the end of the block."""
    with connect(engine.url) as connection, connection.transaction():
        execute(connection, _INSERT, order_id)
        execute(connection, _INSERT_WORK)
        yield


def listed(server: Server, last: int | None = None) -> list[int]:
    """The ids of a page of the oldest orders after the sequence `last`."""
    page = server.list_orders(Listing(limit=9, oldest_first=True, last=last))
    return [order.order_id for order in page.orders]


def test_a_page_ends_before_the_orders_of_a_running_transaction(
    engine: PostgresqlEngine, servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(final_sequences, "WAIT_S", 0.1)  # does not wait a second for a transaction that does not end
    first, second = servers
    first.insert(new_order(1))
    assert listed(second) == [1]
    with order_of_a_running_transaction(engine, 2):
        first.insert(new_order(3))
        assert listed(second) == [1]
        assert [order.order_id for order in second.list_orders(Listing(limit=9)).orders] == [3, 1]
    assert listed(second) == [1, 2, 3]


def test_a_page_waits_for_a_transaction_that_ends_soon(
    engine: PostgresqlEngine, servers: tuple[Server, Server]
) -> None:
    first, second = servers
    found: list[list[int]] = []

    def read() -> None:
        second.connect()
        found.append(listed(second))
        second.disconnect()

    with order_of_a_running_transaction(engine, 2):
        first.insert(new_order(3))
        reader = threading.Thread(target=read)
        reader.start()
    reader.join()
    assert found == [[2, 3]]


def test_a_new_connection_knows_no_final_sequence(
    engine: PostgresqlEngine, servers: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failover, the new primary can give out a sequence again that the old one gave to a lost transaction."""
    monkeypatch.setattr(final_sequences, "WAIT_S", 0.1)
    first, second = servers
    first.insert(new_order(1))
    assert listed(second) == [1]
    second.disconnect()
    second.connect()
    with order_of_a_running_transaction(engine, 2):
        assert listed(second) == []
    assert listed(second) == [1, 2]
