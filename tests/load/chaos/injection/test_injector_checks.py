"""Tests that a server that handles a fault of the receiver, the clock or standard error wrongly is detected."""

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from load.chaos.faults import WEBHOOK, Fault, FaultKind, ReceiverFault
from load.chaos.injection.injector import WEBHOOKS_AT_ONCE, Effect
from load.chaos.report import WRONG
from load.chaos.target import Target
from load.chaos.webhooks.receiver import Receiver
from tests.handlers.running_api import turn_of_the_loop
from tests.load.chaos.conftest import new_target
from tests.load.chaos.injection.test_injector import new_injector
from tests.load.chaos.webhooks.test_receiver import receiving

HOURS = 3
BLOCKING_SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        sys.stderr.write("." * 10_000)
        self.send_error(200)

server = HTTPServer(("127.0.0.1", int(sys.argv[2])), Handler)
print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
"""


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    """A target that delivers webhooks. It is not started. Its program is `server.py`."""
    controlled = ["-m", "load.chaos.servers.controlled", str(tmp_path / "controls"), str(tmp_path / "server.py")]
    target = new_target(WEBHOOK, tmp_path, command=controlled)
    yield target
    target.close()


def inject(
    target: Target, receiver: Receiver, kind: FaultKind, *, detail: str = "", length_s: float = 0.1
) -> Coroutine[Any, Any, Effect]:
    fault = Fault(kind=kind, target=target.name, pause_s=0, length_s=length_s, count=HOURS, detail=detail)
    return new_injector(target, receiver).inject(target, fault)


async def step_clock(target: Target, *, is_retried: bool) -> tuple[Effect, int]:
    """Set the clock after the webhook of an order has failed. Return the effect and the order's id.

    If `is_retried`, the webhook is sent again.
    """
    async with receiving() as (receiver, sender, _):
        injecting = asyncio.create_task(inject(target, receiver, FaultKind.CLOCK))
        order_id = target.ledger.orders.order_id(len(target.ledger))
        while await sender.deliver(order_id) != 500:
            order_id += 1
        while is_retried and not injecting.done():
            await sender.deliver(order_id)
        return await injecting, order_id


@pytest.mark.gen_test
async def test_a_webhook_that_is_retried_after_a_step_of_the_clock_is_right(target: Target) -> None:
    effect, _ = await step_clock(target, is_retried=True)
    assert effect == Effect(True, "+3 h, 1 webhooks waited for a retry")
    assert (target.nodes[0].controls.ahead_s, target.findings.problems[WRONG]) == (HOURS * 3600, [])


@pytest.mark.gen_test
async def test_a_webhook_that_is_not_retried_after_a_step_of_the_clock_is_wrong(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("load.chaos.injection.injector.RETRY_LIMIT_S", 0.0)  # makes the test fast
    effect, order_id = await step_clock(target, is_retried=False)
    assert effect.made
    assert target.findings.problems[WRONG] == [("a webhook was not sent again when it was due", order_id)]


@pytest.mark.gen_test
@pytest.mark.parametrize(("newest", "text"), [(0, "no new order was delivered"), (1 << 63, "no webhook failed")])
async def test_without_a_failed_webhook_the_clock_is_not_set(
    newest: int, text: str, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("load.chaos.injection.injector.DELIVERY_LIMIT_S", 0.0)  # makes the test fast
    monkeypatch.setattr("load.chaos.injection.injector.FAILURE_LIMIT_S", 0.0)  # makes the test fast
    async with receiving() as (receiver, sender, _):
        receiver.newest = newest
        assert await inject(target, receiver, FaultKind.CLOCK) == Effect(False, text)
        assert target.nodes[0].controls.ahead_s == 0
        assert await sender.deliver(1) == 200


@pytest.mark.gen_test
@pytest.mark.parametrize("fault", [ReceiverFault.BUSY, ReceiverFault.LIMIT])
@pytest.mark.parametrize(("requests", "is_wrong"), [(2 * WEBHOOKS_AT_ONCE, False), (1000 * WEBHOOKS_AT_ONCE, True)])
async def test_too_many_webhooks_after_retry_after_are_wrong(
    fault: ReceiverFault, requests: int, is_wrong: bool, target: Target
) -> None:
    async with receiving() as (receiver, _, _):
        injecting = asyncio.create_task(inject(target, receiver, FaultKind.RECEIVER, detail=fault.value))
        await turn_of_the_loop()
        receiver.failed_requests[fault] = requests
        assert (await injecting).made
    problem = (f"{requests} webhooks to a receiver that {fault.value}", 0)
    assert target.findings.problems[WRONG] == ([problem] if is_wrong else [])


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_server_that_waits_for_standard_error_is_wrong(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("load.chaos.injection.injector.ANSWER_LIMIT_S", 1.0)  # makes the test fast
    (tmp_path / "server.py").write_text(BLOCKING_SERVER)
    await target.start()
    async with receiving() as (receiver, _, _):
        await inject(target, receiver, FaultKind.STDERR)
    assert target.findings.problems[WRONG] == [("no answer while nothing read standard error", 0)]
