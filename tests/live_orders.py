"""What a running server has of its orders: sending many, waiting for their statuses, counting them everywhere."""

import contextlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.process import ServerProcess, is_same, order, wait_until

METRICS = {
    "Pending": "pending_orders",
    "Processing": "processing_orders",
    "Completed": "completed_orders",
    "Failed": "failed_orders",
    "Cancelled": "cancelled_orders",
}


def post_all(server: ServerProcess, order_ids: Iterable[int], *, clients: int = 8) -> None:
    """Posts orders over some connections at once; all of them must be accepted."""
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
    """The order, once it has that status."""
    found: dict[str, Any] = {}

    def has_status() -> bool:
        found.update(client.ask("GET", f"/order/{order_id}").body)
        return bool(found["status"] == status)

    with server.client() as client:
        wait_until(has_status)
    return found


def wait_until_processed(server: ServerProcess) -> None:
    def is_processed() -> bool:
        metrics = client.ask("GET", "/metrics").body
        return not metrics["pending_orders"] and not metrics["processing_orders"]

    with server.client() as client:
        wait_until(is_processed)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def assert_counts(server: ServerProcess, **expected: int) -> None:
    """So many orders of each status, none of any other: in the table, in the totals beside it and in the metrics."""
    counts = {status: expected.get(status, 0) for status in METRICS}
    with reading(server.database) as connection:
        found = dict(connection.execute("SELECT status, count(*) FROM orders GROUP BY status"))
        totals = connection.execute("SELECT pending, processing, completed, failed, cancelled FROM totals").fetchall()
        [recounted_us] = connection.execute(
            "SELECT ifnull(sum(processed_us - created_us), 0) FROM orders WHERE status = 'Completed'"
        ).fetchone()
        [processing_us] = connection.execute("SELECT processing_us FROM totals").fetchone()
    assert found == {status: count for status, count in counts.items() if count}
    assert totals == [tuple(counts.values())]
    assert processing_us == recounted_us
    metrics = server.get("/metrics").body
    assert {status: metrics[name] for status, name in METRICS.items()} == counts
    assert metrics["total_orders"] == sum(counts.values())


def assert_all_there(server: ServerProcess, acknowledged: Iterable[int]) -> None:
    """Every acknowledged order is stored as it was sent, and Completed; the totals agree with a recount."""
    wait_until_processed(server)
    with server.client() as client:
        for order_id in acknowledged:
            answer = client.ask("GET", f"/order/{order_id}")
            assert answer.status == 200, f"order {order_id} is lost"
            assert is_same(answer.body, order(order_id))
            assert answer.body["status"] == "Completed"
        total = client.ask("GET", "/metrics").body["total_orders"]
    with reading(server.database) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone()[0] == total
