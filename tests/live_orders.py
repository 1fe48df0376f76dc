"""Posts many orders to a running server, waits for their statuses, and checks counts and contents."""

import contextlib
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.models.blocks import check_blocks
from tests.process import ServerProcess, has_values_of, is_on_postgresql, order, wait_until

METRIC_NAMES = {
    "Pending": "pending_orders",
    "Processing": "processing_orders",
    "Completed": "completed_orders",
    "Failed": "failed_orders",
    "Cancelled": "cancelled_orders",
}


def post_all(server: ServerProcess, order_ids: Iterable[int], *, clients: int = 8) -> None:
    """Posts orders over several connections. Every response must be a 202."""
    left = iter(order_ids)
    lock = threading.Lock()

    def post() -> None:
        with server.client() as client:
            while True:
                with lock:
                    order_id = next(left, None)
                if order_id is None:
                    return
                assert client.post(order(order_id)).status == 202

    with ThreadPoolExecutor(clients) as pool:
        for done in [pool.submit(post) for _ in range(clients)]:
            done.result()


def wait_for_status(server: ServerProcess, order_id: int, status: str) -> dict[str, Any]:
    """Waits until the order has this status, and returns the order."""
    found: dict[str, Any] = {}

    def has_status() -> bool:
        found.update(client.ask("GET", f"/order/{order_id}").body)
        return bool(found["status"] == status)

    with server.client() as client:
        wait_until(has_status)
    return found


def wait_until_processed(server: ServerProcess) -> None:
    """Waits until no order is Pending or Processing."""

    def is_processed() -> bool:
        metrics = client.ask("GET", "/metrics").body
        return not metrics["pending_orders"] and not metrics["processing_orders"]

    with server.client() as client:
        wait_until(is_processed)


def interrupted_attempts(server: ServerProcess) -> int:
    """How many interrupted attempts of another server, which was killed, the server has ended.

    On PostgreSQL, a server ends such attempts when the lease of the other server has expired.
    """
    return sum(map(int, re.findall(r"(?:recovered|took over) (\d+) attempts", server.log)))


@contextlib.contextmanager
def connect_to(path: Path) -> Iterator[Any]:
    """A connection to the database of the server. On PostgreSQL, it is for queries only."""
    if is_on_postgresql():
        # Imported only here, because the tests on SQLite do not need psycopg.
        from tests.postgresql.server_databases import connected_to

        with connected_to(path) as observer:
            yield observer
        return
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def check_tables(connection: Any) -> None:
    """Checks what is true after every commit. On PostgreSQL, `connect_to` does so."""
    if not is_on_postgresql():
        check_blocks(connection)


def assert_counts(server: ServerProcess, **expected: int) -> None:
    """Checks the count of each status in the table `orders`, the totals and the metrics. Counts not given must be 0."""
    counts = {status: expected.get(status, 0) for status in METRIC_NAMES}
    with connect_to(server.database) as connection:
        found = dict(connection.execute("SELECT status, count(*) FROM orders GROUP BY status"))
        totals = connection.execute("SELECT pending, processing, completed, failed, cancelled FROM totals").fetchall()
        [recounted_us] = connection.execute(
            "SELECT coalesce(sum(processed_us - created_us), 0) FROM orders WHERE status = 'Completed'"
        ).fetchone()
        [processing_us] = connection.execute("SELECT processing_us FROM totals").fetchone()
        check_tables(connection)
    assert found == {status: count for status, count in counts.items() if count}
    assert totals == [tuple(counts.values())]
    assert processing_us == recounted_us
    metrics = server.get("/metrics").body
    assert {status: metrics[name] for status, name in METRIC_NAMES.items()} == counts
    assert metrics["total_orders"] == sum(counts.values())


def assert_all_completed(server: ServerProcess, acknowledged: Iterable[int]) -> None:
    """Checks that every acknowledged order is Completed with the values sent, and that /metrics counts every order."""
    wait_until_processed(server)
    with server.client() as client:
        for order_id in acknowledged:
            answer = client.ask("GET", f"/order/{order_id}")
            assert answer.status == 200, f"order {order_id} is lost"
            assert has_values_of(answer.body, order(order_id))
            assert answer.body["status"] == "Completed"
        total = client.ask("GET", "/metrics").body["total_orders"]
    with connect_to(server.database) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone()[0] == total
        check_tables(connection)
