"""Cancelling and retrying orders, and pausing processing, on a real server."""

from pathlib import Path
from typing import Any

import pytest

from tests.live_orders import assert_counts, post_all, wait_for_status, wait_until_processed
from tests.process import ServerProcess, order, wait_until
from tests.user_module import UserModule

pytestmark = pytest.mark.slow


def ask(server: ServerProcess, path: str) -> tuple[int, Any]:
    """Sends a POST without a body. Returns the status and the body. The body of an error must be a problem."""
    with server.client() as client:
        answer = client.ask("POST", path)
    kind = "application/json" if answer.status < 400 else "application/problem+json"
    assert answer.headers["Content-Type"].startswith(kind)
    return answer.status, answer.body


def test_a_cancelled_order_is_never_processed(tmp_path: Path) -> None:
    with (
        UserModule(tmp_path, "tell(order)\nif order.order_id == 1: wait_at_gate()") as shop,
        shop.server("--workers", "1") as server,
    ):
        assert server.post(order(1)).status == 202
        assert shop.call().order_id == 1
        post_all(server, [2, 3], clients=1)
        for _ in range(2):
            status, cancelled = ask(server, "/order/2/cancel")
            assert (status, cancelled["status"], cancelled["order_id"]) == (200, "Cancelled", 2)
            assert server.get("/order/2").body == cancelled
        status, problem = ask(server, "/order/1/cancel")
        assert (status, problem["order_status"]) == (409, "Processing")
        assert_counts(server, Pending=1, Processing=1, Cancelled=1)
        shop.open_gate()
        assert shop.call().order_id == 3
        wait_until_processed(server)
        for order_id in (1, 3):
            status, problem = ask(server, f"/order/{order_id}/cancel")
            assert (status, problem["status"], problem["order_status"]) == (409, 409, "Completed")
        status, problem = ask(server, "/order/2/retry")
        assert (status, problem["order_status"]) == (409, "Cancelled")
        # The same order sent again is a replay of the cancelled order.
        assert server.post(order(2)).headers["Idempotent-Replayed"] == "true"
        assert server.get("/order/2").body == cancelled
        assert_counts(server, Completed=2, Cancelled=1)


def test_failed_orders_can_be_retried(tmp_path: Path) -> None:
    body = """
        if order.order_id > 1 and not (HERE / "mended").exists():
            raise Rejected("no flour")
        tell(order)
    """
    with UserModule(tmp_path, body) as shop, shop.server() as server:
        post_all(server, range(1, 106))
        wait_until_processed(server)
        assert shop.call()[:2] == (1, 1)
        assert_counts(server, Completed=1, Failed=104)
        status, problem = ask(server, "/order/1/retry")
        assert (status, problem["order_status"]) == (409, "Completed")
        (tmp_path / "mended").touch()
        status, pending = ask(server, "/order/7/retry")
        assert status == 200
        assert {name: pending[name] for name in ("order_id", "status", "attempts", "error", "processed_time")} == {
            "order_id": 7,
            "status": "Pending",
            "attempts": 0,
            "error": None,
            "processed_time": None,
        }
        assert shop.call()[:2] == (7, 1)
        assert wait_for_status(server, 7, "Completed")["attempts"] == 1
        assert_counts(server, Completed=2, Failed=103)
        assert ask(server, "/orders/retry?status=Failed") == (200, {"retried": 103})
        called = {shop.call()[:2] for _ in range(103)}
        assert called == {(order_id, 1) for order_id in range(2, 106) if order_id != 7}
        wait_until_processed(server)
        assert_counts(server, Completed=105)
        assert ask(server, "/orders/retry?status=Failed") == (200, {"retried": 0})


def test_orders_that_wait_for_a_retry_can_be_retried_now(tmp_path: Path) -> None:
    body = """
        tell(order)
        if order.attempt == 1:
            raise RetryLater(3600, "no flour" if order.order_id < 50 else "no sugar")
    """
    with UserModule(tmp_path, body) as shop, shop.server() as server:
        post_all(server, range(1, 101))
        for _ in range(100):
            shop.call()
        waiting = [wait_for_status(server, order_id, "Pending")["next_attempt_at"] for order_id in (1, 2, 100)]
        assert all(waiting)
        status, pending = ask(server, "/order/1/retry")
        assert (status, pending["status"], pending["attempts"], pending["error"]) == (200, "Pending", 1, "no flour")
        assert shop.call()[:2] == (1, 2)
        wait_for_status(server, 1, "Completed")
        assert ask(server, "/orders/retry?status=Pending&error=flour") == (200, {"retried": 48})
        assert {shop.call()[:2] for _ in range(48)} == {(order_id, 2) for order_id in range(2, 50)}
        assert server.get("/order/100").body["next_attempt_at"] == waiting[2]
        assert ask(server, "/orders/retry?status=Pending") == (200, {"retried": 51})
        wait_until_processed(server)
        assert_counts(server, Completed=100)


def test_a_pause_survives_a_kill_and_running_attempts_end(tmp_path: Path) -> None:
    with UserModule(tmp_path, "tell(order)\nif order.order_id == 1: wait_at_gate()") as shop:
        with shop.server("--workers", "1") as server:
            assert server.post(order(1)).status == 202
            assert shop.call().order_id == 1
            for _ in range(2):
                assert ask(server, "/processing/pause") == (200, {"paused": True})
            post_all(server, [2, 3], clients=1)
            shop.open_gate()
            wait_for_status(server, 1, "Completed")
            assert_counts(server, Completed=1, Pending=2)
            wait_until(lambda: "processing paused by 127.0.0.1" in server.log)
            server.kill()
            assert server.log.count("processing paused by 127.0.0.1") == 1
        with shop.server("--workers", "1") as server:
            assert "processing is paused: orders are accepted, but not processed" in server.log
            assert server.get("/readyz").body == {"status": "ok", "paused": True}
            post_all(server, [4], clients=1)
            assert_counts(server, Completed=1, Pending=3)
            assert ask(server, "/processing/resume") == (200, {"paused": False})
            assert [shop.call().order_id for _ in range(3)] == [2, 3, 4]
            wait_until_processed(server)
            assert server.stop() == 0
            assert "processing resumed by 127.0.0.1" in server.log
