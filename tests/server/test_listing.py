"""Listings of two million orders: the responses of a real server, and the number of SQLite instructions."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from models.listing import HIGHEST, Listing
from models.order import Status
from models.sqlite.database import RetryingSqliteDatabase
from models.sqlite.files.opening import open_database
from models.sqlite.listing import list_orders
from tests.live_orders import post_all, wait_until_processed
from tests.models.blocks import connection_of, fill_blocks
from tests.process import Client, ServerProcess

pytestmark = pytest.mark.sqlite

N = 2_000_000
MANY = f"""
WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {N})
INSERT INTO orders (order_id, user_id, item_ids, total_amount, status, attempts, claims, created_us)
SELECT i, iif(i % 2, 1, 2 + i * 7919 % 100000), '[1]', 1, iif(i % 4096, 'Completed', 'Failed'), 1, 1, i
FROM n"""
"""Half of the orders belong to user 1; no order of user 1 is Failed. The other half belongs to many users."""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a database with `N` orders."""
    path = tmp_path_factory.mktemp("many") / "orders.db"
    database = open_database(path)
    with database.connection_context():
        database.pragma("synchronous", 0)
        database.execute_sql(MANY)
        fill_blocks(connection_of(database))
    return path


@pytest.fixture
def database(many: Path) -> Iterator[RetryingSqliteDatabase]:
    database = open_database(many)
    with database.connection_context():
        yield database


def steps(database: RetryingSqliteDatabase, work: Callable[[], object]) -> int:
    """The number of instructions that SQLite's virtual machine runs for `work`, in hundreds."""
    connection = cast(sqlite3.Connection, cast(Any, database).connection())
    count = 0

    def tick() -> int:
        nonlocal count
        count += 1
        return 0

    connection.set_progress_handler(tick, 100)
    work()
    connection.set_progress_handler(None, 0)
    return count


STOPS_AT_ITS_LAST_ORDER = [{}, *({"status": status} for status in Status if status is not Status.COMPLETED)]
GATHERS_SOME_BLOCKS = [
    {"status": Status.COMPLETED},
    {"user_id": 1},
    {"created_from_us": 1},
    {"user_id": 1, "created_from_us": 1},
    {"user_id": 1, "status": Status.COMPLETED},
    {"user_id": 1, "status": Status.CANCELLED},
]
LOOKS_INTO_EACH_BLOCK = [
    {"user_id": 4},
    {"user_id": 100_002},
    {"created_until_us": 300},
    {"created_from_us": N + 1},
    {"user_id": 1, "status": Status.FAILED},
    {"user_id": 4, "status": Status.COMPLETED},
    {"status": Status.FAILED, "created_until_us": N // 2},
    {"status": Status.COMPLETED, "created_until_us": 300},
]


@pytest.mark.slow
def test_a_page_costs_a_small_part_of_reading_all_orders(database: RetryingSqliteDatabase) -> None:
    reading = steps(database, lambda: database.execute_sql("SELECT sum(attempts) FROM orders").fetchone())
    for part, kinds in ((400, STOPS_AT_ITS_LAST_ORDER), (100, GATHERS_SOME_BLOCKS), (50, LOOKS_INTO_EACH_BLOCK)):
        for wanted in cast(list[dict[str, Any]], kinds):
            for last in (HIGHEST, N // 2, 5_000):
                listing = Listing(limit=200, last=last, **wanted)
                taken = steps(database, partial(list_orders, database, listing))
                assert taken * part <= reading, listing
            for last in (0, N // 2, N - 5_000):
                listing = Listing(limit=200, oldest_first=True, last=last, **wanted)
                taken = steps(database, partial(list_orders, database, listing))
                assert taken * part <= reading, listing


@pytest.mark.slow
def test_a_server_filters_two_million_orders(many: Path) -> None:
    with ServerProcess(many) as server, server.client() as client:
        newest = client.ask("GET", "/orders?limit=2").body["orders"]
        assert [order["order_id"] for order in newest] == [N, N - 1]
        failed = follow(client, "/orders?status=Failed&limit=200")
        assert failed == list(range(N - N % 4096, 0, -4096))
        assert follow(client, f"/orders?user_id={2 + 1_000 * 7919 % 100_000}") == list(range(N - 99_000, 0, -100_000))
        assert follow(client, "/orders?created_before=1970-01-01T00:00:00.000011Z&limit=3") == list(range(10, 0, -1))


def follow(client: Client, path: str) -> list[int]:
    """The ids on all pages, found by following the links."""
    ids = []
    while True:
        answer = client.ask("GET", path)
        assert answer.status == 200
        ids += [order["order_id"] for order in answer.body["orders"]]
        link = re.fullmatch(r'<(/orders\?\S+)>; rel="next"', answer.headers.get("Link", ""))
        assert (link is None) == (answer.body["next_cursor"] is None)
        if link is None:
            return ids
        path = link[1]


@pytest.mark.slow
def test_orders_are_listed_newest_first_also_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    with ServerProcess(path) as server, server.client() as client:
        post_all(server, range(1, 31), clients=1)
        wait_until_processed(server)
        assert follow(client, "/orders?status=Completed&limit=7") == list(range(30, 0, -1))
        assert server.stop() == 0
    with ServerProcess(path) as server, server.client() as client:
        assert follow(client, "/orders?limit=11") == list(range(30, 0, -1))
        # Order 5 is the only order of user 6.
        assert follow(client, "/orders?user_id=6") == [5]
