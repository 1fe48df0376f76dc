"""A real server while PostgreSQL is frozen, crashes or has a full disk: 503 in time, nothing is lost, no restart."""

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.models.postgresql.tables import check_tables, recount
from tests.postgresql.databases import connect, execute
from tests.postgresql.proxy import Proxy
from tests.postgresql.server import PrivateServer
from tests.process import DEADLINE_S, Answer, Client, PostingClients, ServerProcess, order, wait_until

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]

WRITES_FAIL_AFTER_S = 10.0
"""How long the server tries to write an order."""
LONGEST_S = 2 * WRITES_FAIL_AFTER_S
"""The last try can take longer than the deadline, but no order waits for the deadline a second time."""
BACKENDS = "FROM pg_stat_activity WHERE application_name = 'orders'"


@pytest.fixture
def postgresql() -> Iterator[PrivateServer]:
    with PrivateServer() as server:
        yield server


@contextlib.contextmanager
def serving(url: str, folder: Path) -> Iterator[ServerProcess]:
    """A server on the database with this URL."""
    with ServerProcess(folder / "unused.db", "--database", url) as server:
        yield server


def refused_post(client: Client, order_id: int) -> float:
    """Posts an order, which must get a 503. Returns how many seconds the server took."""
    began_s = time.monotonic()
    answer = client.post(order(order_id))
    assert answer.status == 503, answer.body
    assert answer.body["type"] in (
        "/problems/storage-unavailable",
        "/problems/storage-busy",
        "/problems/commit-unknown",
    )
    assert answer.headers["Retry-After"]
    return time.monotonic() - began_s


def check_orders(server: ServerProcess, url: str, acknowledged: set[int]) -> None:
    """Every acknowledged order is Completed, and the totals and the tables agree."""
    with server.client() as client:
        # Reads can fail for a little longer than writes.
        wait_until(lambda: client.ask("GET", f"/order/{min(acknowledged)}").status == 200)
        for order_id in acknowledged:
            assert client.ask("GET", f"/order/{order_id}?wait=30").body["status"] == "Completed"
        wait_until(lambda: not active_orders(client))
        total = client.ask("GET", "/metrics").body["total_orders"]
    with connect(url) as connection:
        check_tables(connection)
        assert recount(connection).orders == total


def active_orders(client: Client) -> int:
    metrics = client.ask("GET", "/metrics").body
    return int(metrics["pending_orders"] + metrics["processing_orders"])


def is_ready(server: ServerProcess) -> bool:
    return server.get("/readyz").status == 200


def refusals(answers: list[Answer]) -> set[tuple[int, Any]]:
    return {(answer.status, answer.body["type"]) for answer in answers}


def check_log(server: ServerProcess) -> None:
    """One line says that writes fail, and one line that writes work again. No exception was logged."""
    assert server.log.count("WARNING writes of the database fail") == 1
    assert server.log.count("INFO writes of the database work again") == 1
    assert "Traceback" not in server.log


def test_an_order_waits_while_postgresql_is_frozen_for_a_moment(postgresql: PrivateServer, tmp_path: Path) -> None:
    with serving(postgresql.url(), tmp_path) as server, server.client() as client:
        assert client.post(order(1)).status == 202
        postgresql.pause()
        client.send_order(order(2))
        assert not select.select([client.sock], [], [], 1)[0]
        postgresql.resume()
        assert client.answer().status == 202
        check_orders(server, postgresql.url(), {1, 2})
        assert "writes of the database fail" not in server.log


def test_orders_are_refused_in_time_while_postgresql_is_frozen(postgresql: PrivateServer, tmp_path: Path) -> None:
    with serving(postgresql.url(), tmp_path) as server, server.client() as client:
        clients = PostingClients(server.port, first_id=100)
        assert clients.enough.wait(DEADLINE_S)
        postgresql.pause()
        assert refused_post(client, 2) < LONGEST_S
        # Requests soon after a failure share the deadline of the failed request.
        assert refused_post(client, 3) <= WRITES_FAIL_AFTER_S
        assert server.get("/readyz").status == 503
        assert server.get("/livez").status == 200
        postgresql.resume()
        wait_until(lambda: is_ready(server))
        assert client.post(order(4)).status == 202
        clients.join()
        assert {status for status, _ in refusals(clients.refused)} == {503}
        check_orders(server, postgresql.url(), clients.acknowledged | {4})
        check_log(server)
        assert server.stop() == 0


def test_orders_are_refused_in_time_while_the_network_loses_all_packets(
    postgresql: PrivateServer, tmp_path: Path
) -> None:
    with (
        Proxy(postgresql.folder) as proxy,
        serving(proxy.url("postgres"), tmp_path) as server,
        server.client() as client,
    ):
        clients = PostingClients(server.port, first_id=100)
        assert clients.enough.wait(DEADLINE_S)
        with proxy.stall():
            assert refused_post(client, 2) < LONGEST_S
            assert server.get("/readyz").status == 503
        wait_until(lambda: is_ready(server))
        assert client.post(order(4)).status == 202
        clients.join()
        check_orders(server, postgresql.url(), clients.acknowledged | {4})
        check_log(server)


def freeze_backends(observer: psycopg.Connection[Any]) -> list[int]:
    """Freezes the backends of all connections of the server while they wait for statements. Returns their process ids.

    A backend that works can hold a lock without which nobody can commit, such as the one of the write-ahead log.
    """
    frozen: list[int] = []

    def is_frozen_while_waiting() -> bool:
        frozen[:] = [pid for [pid] in execute(observer, f"SELECT pid {BACKENDS}")]
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: all(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "T" for pid in frozen))
        working = f"SELECT count(*) {BACKENDS} AND wait_event IS DISTINCT FROM 'ClientRead'"
        if execute(observer, working) == [(0,)]:
            return True
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)
        return False

    wait_until(is_frozen_while_waiting)
    return frozen


def test_orders_are_accepted_although_the_backends_of_all_connections_are_frozen(
    postgresql: PrivateServer, tmp_path: Path
) -> None:
    with serving(postgresql.url(), tmp_path) as server, connect(postgresql.url()) as observer:
        clients = PostingClients(server.port, first_id=100)
        assert clients.enough.wait(DEADLINE_S)
        frozen = freeze_backends(observer)
        try:
            began_s = time.monotonic()
            with server.client() as client:
                while client.post(order(2)).status != 202:
                    assert time.monotonic() - began_s < 2 * LONGEST_S
            wait_until(lambda: is_ready(server))
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
        clients.join()
        check_orders(server, postgresql.url(), clients.acknowledged | {2})
        assert "Traceback" not in server.log


def test_an_order_waits_for_a_lock_of_another_program_and_reads_do_not(
    postgresql: PrivateServer, tmp_path: Path
) -> None:
    with serving(postgresql.url(), tmp_path) as server, server.client() as waiting, server.client() as reading:
        assert reading.post(order(1)).status == 202
        with connect(postgresql.url()) as other, other.transaction():
            execute(other, "LOCK TABLE orders IN SHARE MODE")
            waiting.send_order(order(2))
            # Longer than one statement waits for a lock.
            assert not select.select([waiting.sock], [], [], 3)[0]
            assert reading.ask("GET", "/order/1").status == 200
        assert waiting.answer().status == 202
        check_orders(server, postgresql.url(), {1, 2})


def test_a_lock_held_beyond_the_deadline_is_a_503_with_retry_after(postgresql: PrivateServer, tmp_path: Path) -> None:
    with serving(postgresql.url(), tmp_path) as server, server.client() as client:
        assert client.post(order(1)).status == 202
        with connect(postgresql.url()) as other, other.transaction():
            execute(other, "LOCK TABLE orders IN SHARE MODE")
            assert refused_post(client, 2) < LONGEST_S
            assert client.ask("GET", "/readyz").status == 503
        wait_until(lambda: is_ready(server))
        assert client.post(order(2)).status == 202
        check_orders(server, postgresql.url(), {1, 2})
        check_log(server)


def test_orders_are_accepted_again_after_a_crash_of_postgresql(postgresql: PrivateServer, tmp_path: Path) -> None:
    with serving(postgresql.url(), tmp_path) as server:
        clients = PostingClients(server.port, first_id=1)
        for _ in range(2):
            assert clients.enough.wait(DEADLINE_S)
            before = len(clients.acknowledged)
            postgresql.stop("immediate")
            postgresql.start()
            wait_until(lambda before=before: len(clients.acknowledged) > before)  # type: ignore[misc]
        clients.join()
        assert refusals(clients.refused) <= {(503, "/problems/commit-unknown")}
        check_orders(server, postgresql.url(), clients.acknowledged)
        assert "Traceback" not in server.log


def test_orders_are_refused_while_the_disk_of_the_tables_is_full(tmp_path: Path) -> None:
    with (
        PrivateServer("max_wal_size=16MB", on_small_disk="data") as postgresql,
        serving(postgresql.url(), tmp_path) as server,
        server.client() as client,
    ):
        assert client.post(order(1)).status == 202
        with postgresql.full_disk():
            accepted, refused = post_until_refused(client, first_id=2)
            assert refused.body["type"] == "/problems/storage-unavailable"
            assert refused.headers["Retry-After"]
            assert client.ask("GET", "/readyz").status == 503
            assert client.ask("GET", "/order/1").status == 200
        wait_until(lambda: is_ready(server))
        assert client.post(order(1_000_000)).status == 202
        check_orders(server, postgresql.url(), {1, *accepted, 1_000_000})
        assert "(53100)" in server.log
        assert "Traceback" not in server.log


def post_until_refused(client: Client, *, first_id: int) -> tuple[list[int], Answer]:
    """Posts groups of orders with large metadata. Returns the ids of the accepted orders, and the answer 503."""
    accepted: list[int] = []
    for order_id in range(first_id, first_id + 20_000):
        answer = client.post(order(order_id) | {"metadata": {"text": os.urandom(7_000).hex()}})
        if answer.status != 202:
            assert answer.status == 503
            return accepted, answer
        accepted.append(order_id)
    raise AssertionError("the disk does not become full")


def test_orders_are_refused_while_postgresql_can_not_write_its_log(tmp_path: Path) -> None:
    with (
        PrivateServer("max_wal_size=16MB", on_small_disk="wal") as postgresql,
        serving(postgresql.url(), tmp_path) as server,
        server.client() as client,
    ):
        assert client.post(order(1)).status == 202
        with postgresql.full_disk():
            accepted, refused = post_until_refused(client, first_id=2)
            assert refused.headers["Retry-After"]
            assert client.ask("GET", "/readyz").status == 503
        # PostgreSQL has panicked. If it could not recover, it has ended, and must be started again.
        postgresql.start()
        wait_until(lambda: is_ready(server))
        assert client.post(order(1_000_000)).status == 202
        check_orders(server, postgresql.url(), {1, *accepted, 1_000_000})
        assert "Traceback" not in server.log
