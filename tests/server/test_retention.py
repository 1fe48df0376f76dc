"""--keep and --archive in whole servers that are killed again and again under load."""

import gzip
import http.client
import json
from pathlib import Path
from typing import Any

import pytest

from tests.process import DEADLINE_S, PostingClients, ServerProcess, is_on_postgresql, order, run_server, wait_until
from workers.retention.retention import BATCH

pytestmark = pytest.mark.slow

OLD = 2 * BATCH
KILLS = 4


def export(server: ServerProcess) -> dict[int, Any]:
    """The orders as `GET /order/{id}` responds with them, by their ids."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S)
    connection.request("GET", "/orders?format=ndjson&oldest_first=true")
    orders = [json.loads(line) for line in connection.getresponse().read().splitlines()]
    connection.close()
    for each in orders:
        del each["cursor"]
    return {each["order_id"]: each for each in orders}


def archived_in(folder: Path) -> dict[int, Any]:
    """The archived orders by their ids. No order is in the archive twice."""
    texts = [gzip.decompress(each.read_bytes()) for each in sorted(folder.glob("orders-*.ndjson.gz"))]
    orders = [json.loads(line) for line in b"".join(texts).splitlines()]
    by_id = {each["order_id"]: each for each in orders}
    assert len(by_id) == len(orders)
    return by_id


def is_everything_completed(server: ServerProcess) -> bool:
    metrics = server.get("/metrics").body
    return bool(metrics["total_orders"] == metrics["completed_orders"])


def archived_count(server: ServerProcess) -> int:
    return int(server.get("/metrics").body["archived_orders"])


def test_old_orders_leave_under_load_and_kills_and_none_is_lost_or_archived_twice(tmp_path: Path) -> None:
    path, folder = tmp_path / "orders.db", tmp_path / "archive"
    with ServerProcess(path) as server:
        with server.client() as client:
            for order_id in range(1, OLD + 1):
                assert client.post(order(order_id)).status == 202
        wait_until(lambda: server.get("/metrics").body["completed_orders"] == OLD)
        old = export(server)
        assert server.stop() == 0
    assert len(old) == OLD
    keep = ("--keep", "1s", "--archive", str(folder))
    sent: set[int] = set()
    acknowledged: set[int] = set()
    for number in range(1, KILLS + 1):
        with ServerProcess(path, *keep) as server:
            before = archived_count(server)
            clients = PostingClients(server.port, first_id=number * 1_000_000)
            assert clients.enough.wait(DEADLINE_S)
            if number < KILLS:
                wait_until(lambda server=server, before=before: archived_count(server) > before)  # type: ignore[misc]
            server.kill()
            clients.join()
            acknowledged |= clients.acknowledged
            sent |= {*range(number * 1_000_000, max(clients.acknowledged) + 17)}
    with ServerProcess(path, *keep) as server:
        wait_until(lambda: archived_count(server) >= OLD)
        assert server.stop() == 0
    with ServerProcess(path) as server:
        # On PostgreSQL, the orders of a killed server are taken over when its lease has expired.
        wait_until(lambda: is_everything_completed(server))
        stored, archived = export(server), archived_in(folder)
        assert not stored.keys() & archived.keys()
        assert old.keys() | acknowledged <= stored.keys() | archived.keys() <= old.keys() | sent
        assert {order_id: each for order_id, each in archived.items() if order_id in old} == old
        metrics = server.get("/metrics").body
        assert metrics["archived_orders"] == len(archived)
        assert metrics["total_orders"] == metrics["completed_orders"] == len(archived) + len(stored)
        for order_id in (1, OLD // 2, max(archived)):
            again = server.post(order(order_id))
            assert (again.status, again.headers["Idempotent-Replayed"]) == (202, "true")
            assert server.post({**order(order_id), "user_id": 999}).status == 409
            found = server.get(f"/order/{order_id}")
            assert (found.status, found.body["type"]) == (410, "/problems/order-archived")
        assert server.get("/metrics").body["total_orders"] == metrics["total_orders"]
        assert export(server) == stored
        assert server.stop() == 0
    if not is_on_postgresql():
        assert run_server("--database", str(path), "--check") == (0, f"{path}: no errors found\n", "")


def test_a_second_server_does_not_use_the_same_folder(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    keep = ("--keep", "90d", "--archive", str(folder))
    with ServerProcess(tmp_path / "orders.db", *keep):
        status, stdout, stderr = run_server("--port", "0", "--database", str(tmp_path / "other.db"), *keep)
    assert (status, stdout) == (1, "")
    assert stderr == f"server.py: --archive {folder} is in use by another server\n"


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (("--keep", "90"), "argument --keep: must be a number and s, m, h or d, such as 90d"),
        (("--keep", "0d"), "argument --keep: must be a number and s, m, h or d, such as 90d"),
        (("--keep", "-1d"), "argument --keep: expected one argument"),
        (("--archive", "folder"), "--archive needs --keep"),
    ],
)
def test_flags_that_are_not_valid(flags: tuple[str, ...], error: str) -> None:
    status, stdout, stderr = run_server(*flags)
    assert (status, stdout) == (2, "")
    assert stderr.endswith(f"error: {error}\n")
