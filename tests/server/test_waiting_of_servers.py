"""Requests that wait for an order, while another server on the same database processes it, cancels it, or dies."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.postgresql.databases import temporary_database
from tests.process import Client, ServerProcess, order
from tests.server.servers import servers_on
from tests.user_module import UserModule

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]

SOON_S = 20.0
"""Well below 30 s, the longest time for which the requests wait, and enough for a lease of 5 s on a busy machine."""


@contextmanager
def waiting(server: ServerProcess, order_id: int) -> Iterator[Client]:
    """A client that waits until this order has ended."""
    with server.client() as client:
        client.request("GET", f"/order/{order_id}?wait=30")
        yield client


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def servers(stack: ExitStack, tmp_path: Path) -> tuple[UserModule, ServerProcess, list[ServerProcess]]:
    """A server that processes order 1 until the gate of its module is opened, and two other servers."""
    url = stack.enter_context(temporary_database())
    module = stack.enter_context(UserModule(tmp_path, "tell(order)\nwait_at_gate()"))
    busy = stack.enter_context(module.server("--database", url, "--workers", "1"))
    assert busy.post(order(1)).status == 202
    assert module.call().order_id == 1
    start = stack.enter_context(servers_on(url))
    return module, busy, [start(), start()]


def test_a_request_learns_that_another_server_has_completed_the_order(
    stack: ExitStack, servers: tuple[UserModule, ServerProcess, list[ServerProcess]]
) -> None:
    module, busy, others = servers
    clients = [stack.enter_context(waiting(server, 1)) for server in (busy, *others) for _ in range(20)]
    for server in (busy, *others):
        assert server.get("/order/1").body["status"] == "Processing"
    module.open_gate()
    began_s = time.monotonic()
    assert {client.answer().body["status"] for client in clients} == {"Completed"}
    assert time.monotonic() - began_s < SOON_S


def test_a_post_that_waits_learns_that_another_server_has_completed_the_order(
    stack: ExitStack, servers: tuple[UserModule, ServerProcess, list[ServerProcess]]
) -> None:
    _, busy, _ = servers
    client = stack.enter_context(busy.client())
    body = json.dumps(order(2)).encode()
    began_s = time.monotonic()
    client.request("POST", "/order", body, {"Content-Type": "application/json", "Prefer": "wait=30"})
    answer = client.answer()
    assert (answer.status, answer.body["status"]) == (200, "Completed")
    assert answer.headers["Preference-Applied"] == "wait=30"
    assert time.monotonic() - began_s < SOON_S


def test_a_request_learns_that_an_order_was_cancelled_through_another_server(
    stack: ExitStack, servers: tuple[UserModule, ServerProcess, list[ServerProcess]]
) -> None:
    _, busy, (first, second) = servers
    with second.client() as client:
        assert client.ask("POST", "/processing/pause").status == 200
        assert busy.post(order(2)).status == 202
        waiters = [stack.enter_context(waiting(server, 2)) for server in (busy, first, second)]
        for server in (busy, first, second):
            assert server.get("/order/2").body["status"] == "Pending"
        began_s = time.monotonic()
        assert client.ask("POST", "/order/2/cancel").status == 200
        assert {waiter.answer().body["status"] for waiter in waiters} == {"Cancelled"}
        assert time.monotonic() - began_s < SOON_S


def test_a_request_is_answered_after_the_server_that_processes_the_order_is_killed(
    stack: ExitStack, servers: tuple[UserModule, ServerProcess, list[ServerProcess]]
) -> None:
    _, busy, others = servers
    clients = [stack.enter_context(waiting(server, 1)) for server in others]
    busy.kill()
    began_s = time.monotonic()
    answers = [client.answer().body for client in clients]
    assert [(each["status"], each["attempts"]) for each in answers] == [("Completed", 2)] * 2
    # One of the other servers takes the order over, and retries it a second later.
    assert time.monotonic() - began_s < SOON_S
