"""A real server with `--attempt-timeout`, and functions that do not return."""

from pathlib import Path

import pytest

from tests.live_orders import post_all, wait_for_status
from tests.process import ServerProcess, order, wait_until
from tests.user_module import UserModule

pytestmark = pytest.mark.slow

FLAGS = ("--workers", "2", "--attempt-timeout", "0.5")


def gauge(server: ServerProcess, name: str) -> str:
    with server.client() as client:
        client.request("GET", "/metrics/prometheus")
        text = client.getresponse().read().decode()
    [line] = [line for line in text.splitlines() if line.startswith(f"{name} ")]
    return line.removeprefix(f"{name} ")


def test_an_order_whose_function_never_returns_is_retried_and_holds_up_no_others(tmp_path: Path) -> None:
    body = "if order.order_id < 3 and order.attempt == 1: wait_at_gate()"
    with UserModule(tmp_path, body) as shop, shop.server(*FLAGS) as server:
        post_all(server, range(1, 3))
        for order_id in (1, 2):
            ended = wait_for_status(server, order_id, "Completed")
            assert (ended["attempts"], ended["error"]) == (2, None)
        # Both threads of --workers are stuck. Two other threads have replaced these threads.
        post_all(server, range(3, 53))
        for order_id in range(3, 53):
            wait_for_status(server, order_id, "Completed")
        wait_until(lambda: gauge(server, "orders_busy_workers") == "0.0")
        assert gauge(server, "orders_overdue_attempts") == "2.0"
        # The late results change nothing.
        shop.open_gate()
        wait_until(lambda: gauge(server, "orders_overdue_attempts") == "0.0")
        assert server.get("/order/1").body["attempts"] == 2
        assert server.stop() == 0
    assert "attempt 1 failed, it will be retried: no result within 0.5 s" in server.log


def test_a_coroutine_that_never_ends_is_cancelled(tmp_path: Path) -> None:
    setup = """
        import asyncio

        async def run(order):
            try:
                await asyncio.Event().wait()
            finally:
                (HERE / "cancelled").touch()
    """
    flags = (*FLAGS, "--processor", "shop:run", "--max-attempts", "1")
    with UserModule(tmp_path, "pass", setup=setup) as shop, shop.server(*flags) as server:
        assert server.post(order(1)).status == 202
        assert wait_for_status(server, 1, "Failed")["error"] == "no result within 0.5 s"
        assert [each["outcome"] for each in server.get("/order/1/attempts").body["attempts"]] == ["timed_out"]
        wait_until((tmp_path / "cancelled").exists)
        assert server.stop() == 0


def test_a_stop_does_not_wait_for_overdue_attempts(tmp_path: Path) -> None:
    flags = (*FLAGS, "--max-attempts", "1", "--drain-timeout", "3600")
    with UserModule(tmp_path, "wait_at_gate()") as shop, shop.server(*flags) as server:
        assert server.post(order(1)).status == 202
        assert wait_for_status(server, 1, "Failed")["error"] == "no result within 0.5 s"
        assert server.stop() == 0
