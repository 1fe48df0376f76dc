"""Cancels, retries and pauses through any of several servers on one database, and the metrics of all of them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.postgresql.databases import temporary_database
from tests.process import ServerProcess, order, wait_until
from tests.server.servers import StartServer, servers_on
from tests.user_module import UserModule

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]


@contextmanager
def servers_with(folder: Path, body: str) -> Iterator[tuple[UserModule, ServerProcess, StartServer]]:
    """A server whose function has this body, and a function that starts servers that complete each order."""
    with (
        temporary_database() as url,
        servers_on(url) as start,
        UserModule(folder, body) as module,
        module.server("--database", url) as server,
    ):
        yield module, server, start


def ask(server: ServerProcess, method: str, path: str) -> tuple[int, dict[str, object]]:
    with server.client() as client:
        answer = client.ask(method, path)
    return answer.status, answer.body


def is_paused(server: ServerProcess) -> bool:
    return bool(server.get("/readyz").body["paused"])


def metrics(servers: Sequence[ServerProcess], name: str) -> set[object]:
    return {server.get("/metrics").body[name] for server in servers}


def test_a_pause_through_one_server_pauses_all() -> None:
    with temporary_database() as url, servers_on(url) as start:
        servers = [start() for _ in range(3)]
        assert ask(servers[0], "POST", "/processing/pause") == (200, {"paused": True})
        # An idle server learns of it within a second.
        wait_until(lambda: all(map(is_paused, servers)))
        assert metrics(servers, "paused") == {True}
        for order_id, server in enumerate(servers, 1):
            assert server.post(order(order_id)).status == 202
        assert metrics(servers, "pending_orders") == {3}
        assert ask(servers[1], "POST", "/order/1/cancel")[0] == 200
        assert ask(servers[2], "POST", "/processing/resume") == (200, {"paused": False})
        for order_id, status in ((1, "Cancelled"), (2, "Completed"), (3, "Completed")):
            for server in servers:
                assert server.get(f"/order/{order_id}?wait=30").body["status"] == status
        wait_until(lambda: not any(map(is_paused, servers)))
        assert metrics(servers, "paused") == {False}


def test_every_server_shows_the_totals_and_rates_of_all() -> None:
    with temporary_database() as url, servers_on(url) as start:
        servers = [start() for _ in range(3)]
        with servers[0].client() as client:
            for order_id in range(1, 101):
                assert client.post(order(order_id)).status == 202
        wait_until(lambda: metrics(servers, "completed_orders") == {100})
        assert metrics(servers, "total_orders") == {100}
        for name in ("accepted_per_second", "completed_per_second"):
            assert all(isinstance(rate, float) and rate > 0 for rate in metrics(servers, name))
        # The totals of a server that is killed are not lost.
        servers.pop(0).kill()
        assert metrics(servers, "completed_orders") == {100}
        assert servers[0].post(order(200)).status == 202
        wait_until(lambda: metrics(servers, "completed_orders") == {101})


def test_an_order_that_another_server_processes_can_not_be_cancelled(tmp_path: Path) -> None:
    with servers_with(tmp_path, "tell(order)\nwait_at_gate()") as (module, busy, start):
        assert busy.post(order(1)).status == 202
        module.call()
        status, problem = ask(start(), "POST", "/order/1/cancel")
        assert (status, problem["order_status"]) == (409, "Processing")
        module.open_gate()
        assert busy.get("/order/1?wait=30").body["status"] == "Completed"


@pytest.mark.parametrize("path", ["/order/1/retry", "/orders/retry?status=Failed"])
def test_an_order_that_another_server_has_failed_can_be_retried(tmp_path: Path, path: str) -> None:
    with servers_with(tmp_path, "raise Rejected('no')") as (_, failing, start):
        assert failing.post(order(1)).status == 202
        other = start()
        assert other.get("/order/1?wait=30").body["status"] == "Failed"
        failing.kill()
        assert ask(other, "POST", path)[0] == 200
        found = other.get("/order/1?wait=30").body
        assert (found["status"], found["error"], found["attempts"]) == ("Completed", None, 1)


@pytest.mark.parametrize("path", ["/order/1/retry", "/orders/retry?status=Pending"])
def test_an_order_that_waits_for_a_retry_by_another_server_can_be_retried_now(tmp_path: Path, path: str) -> None:
    with servers_with(tmp_path, "tell(order)\nraise RetryLater(3600)") as (module, failing, start):
        assert failing.post(order(1)).status == 202
        module.call()
        wait_until(lambda: failing.get("/order/1").body["next_attempt_at"] is not None)
        failing.kill()
        other = start()
        assert ask(other, "POST", path)[0] == 200
        found = other.get("/order/1?wait=30").body
        assert (found["status"], found["attempts"]) == ("Completed", 2)
