"""Requests to a real server that wait until an order has ended."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.process import ServerProcess, order
from tests.user_module import UserModule

WAITERS = 100
SOON_S = 20.0
"""Well below 30 s, the longest time for which the requests wait, and enough for a busy machine."""


@pytest.mark.slow
def test_a_post_that_waits_is_answered_with_the_completed_order(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "orders.db") as server, server.client() as client:
        body = json.dumps(order(1)).encode()
        client.request("POST", "/order", body, {"Content-Type": "application/json", "Prefer": "wait=30"})
        answer = client.answer()
        assert (answer.status, answer.headers["Preference-Applied"]) == (200, "wait=30")
        assert (answer.body["order_id"], answer.body["status"], answer.body["attempts"]) == (1, "Completed", 1)
        assert client.post(order(2)).status == 202
        assert client.ask("GET", "/order/2?wait=30").body["status"] == "Completed"


@pytest.mark.slow
def test_a_wait_continues_during_retries_until_the_order_is_completed(tmp_path: Path) -> None:
    body = "if order.attempt == 1: raise RetryLater(0.5)"
    with UserModule(tmp_path, body) as module, module.server() as server, server.client() as client:
        client.post(order(1))
        found = client.ask("GET", "/order/1?wait=30").body
        assert (found["status"], found["attempts"]) == ("Completed", 2)


@pytest.mark.slow
def test_a_stop_answers_all_waiting_requests_at_once(tmp_path: Path) -> None:
    with UserModule(tmp_path, "tell(order)\nwait_at_gate()") as module, ExitStack() as clients:
        server = clients.enter_context(module.server("--workers", "1", "--drain-timeout", "1"))
        client = clients.enter_context(server.client())
        assert [client.post(order(order_id)).status for order_id in (1, 2)] == [202, 202]
        module.call()
        waiters = [clients.enter_context(server.client()) for _ in range(WAITERS)]
        for place, waiter in enumerate(waiters):
            waiter.request("GET", f"/order/{place % 2 + 1}?wait=30")
        posters = [clients.enter_context(server.client()) for _ in range(WAITERS)]
        for place, poster in enumerate(posters, 3):
            text = json.dumps(order(place)).encode()
            poster.request("POST", "/order", text, {"Content-Type": "application/json", "Prefer": "wait=30"})
        # This later request is answered after the server has read all earlier requests.
        assert client.ask("GET", f"/order/{WAITERS + 2}?wait=0").status in (200, 404)
        stopped_s = time.monotonic()
        with ThreadPoolExecutor(1) as pool:
            status = pool.submit(server.stop)
            found = [waiter.answer() for waiter in waiters]
            accepted = [poster.answer() for poster in posters]
            assert time.monotonic() - stopped_s < SOON_S
            assert status.result() == 0
        assert [(each.status, each.body["status"]) for each in found] == [(200, "Processing"), (200, "Pending")] * 50
        assert [each.status for each in accepted] == [202] * WAITERS
        assert "Traceback" not in server.log
