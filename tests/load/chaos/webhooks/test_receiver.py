"""Tests the webhook receiver, with and without faults."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import urllib3
from urllib3.exceptions import HTTPError, ProtocolError

from load.chaos.faults import ReceiverFault
from load.chaos.report import WRONG, Findings
from load.chaos.servers.node import RunFailed
from load.chaos.webhooks.receiver import Receiver
from tests.handlers.running_api import turn_of_the_loop
from tests.load.chaos.webhooks.sample_webhooks import new_checker, webhook

TIMEOUT_S = 30.0


class Sender:
    """Sends webhooks on one keep-alive connection."""

    def __init__(self, receiver: Receiver, pool: urllib3.PoolManager) -> None:
        self._url = receiver.url
        self._pool = pool

    async def deliver(self, order_id: int, *, webhook_id: str = "") -> int:
        headers, body = webhook(order_id, webhook_id=webhook_id)
        return await self.send(headers, body)

    async def send(self, headers: dict[str, str], body: bytes) -> int:
        """Send a request from another thread and return the status."""
        send = self._pool.request
        response = await asyncio.to_thread(send, "POST", self._url, body=body, headers=headers, timeout=TIMEOUT_S)
        return response.status


@asynccontextmanager
async def receiving() -> AsyncIterator[tuple[Receiver, Sender, Findings]]:
    findings = Findings(target="webhook")
    receiver = Receiver(new_checker(), findings=findings)
    receiver.listen()
    try:
        with urllib3.PoolManager(retries=False) as pool:
            yield receiver, Sender(receiver, pool), findings
    finally:
        receiver.close()


@pytest.mark.gen_test
async def test_new_and_repeated_webhooks_are_delivered() -> None:
    async with receiving() as (receiver, sender, findings):
        assert [await sender.deliver(order_id) for order_id in (1, 2, 1)] == [200] * 3
        assert (dict(receiver.delivered), findings.problems[WRONG]) == ({1: 2, 2: 1}, [])


@pytest.mark.gen_test
async def test_another_webhook_id_for_the_same_order_is_wrong() -> None:
    async with receiving() as (_, sender, findings):
        await sender.deliver(1)
        await sender.deliver(1, webhook_id="another")
        assert findings.problems[WRONG] == [("a repeated webhook with another webhook-id", 1)]


@pytest.mark.gen_test
async def test_changed_webhooks_and_other_requests_are_wrong() -> None:
    async with receiving() as (_, sender, findings):
        headers, body = webhook(2, {"user_id": 0})
        assert await sender.send(headers, body) == 200
        with pytest.raises(HTTPError):
            await sender.send(headers, b"[]")
        assert findings.problems[WRONG] == [
            ("a webhook that differs from the order in its user_id", 2),
            ("a request that is not a webhook: ValueError('no order_id')", 0),
        ]


@pytest.mark.gen_test
@pytest.mark.parametrize(("fault", "status"), [(ReceiverFault.ERROR, 500), (ReceiverFault.BUSY, 503)])
async def test_a_refused_order_is_not_delivered_until_it_is_repeated(fault: ReceiverFault, status: int) -> None:
    async with receiving() as (receiver, sender, _):
        receiver.set_fault(fault)
        assert await sender.deliver(1) == status
        assert (dict(receiver.delivered), receiver.failed_requests[fault]) == ({}, 1)
        receiver.set_fault(None)
        assert await sender.deliver(1) == 200
        assert (receiver.delivered, receiver.answered) == ({1: 1}, {1: 2})


@pytest.mark.gen_test
async def test_a_gone_receiver_closes_and_refuses_connections_until_it_is_back() -> None:
    async with receiving() as (receiver, sender, _):
        assert await sender.deliver(1) == 200
        receiver.set_fault(ReceiverFault.GONE)
        assert receiver.failed_requests[ReceiverFault.GONE] == 1
        with pytest.raises(HTTPError):
            await sender.deliver(2)
        receiver.set_fault(None)
        assert await sender.deliver(2) == 200
        assert receiver.delivered == {1: 1, 2: 1}


@pytest.mark.gen_test
async def test_hanging_connections_are_closed_when_the_fault_ends() -> None:
    async with receiving() as (receiver, sender, _):
        receiver.set_fault(ReceiverFault.HANG)
        hanging = asyncio.create_task(sender.deliver(1))
        while not receiver.failed_requests[ReceiverFault.HANG]:
            await turn_of_the_loop()
        assert (dict(receiver.delivered), receiver.answered[1], hanging.done()) == ({}, 0, False)
        receiver.set_fault(None)
        with pytest.raises(ProtocolError):
            await hanging
        assert await sender.deliver(1) == 200


@pytest.mark.gen_test
async def test_a_taken_port_is_an_error_at_the_start_and_after_a_fault() -> None:
    async with receiving() as (receiver, _, _):
        receiver.set_fault(ReceiverFault.GONE)
        with listening_at(receiver.url), pytest.raises(RunFailed, match="can't listen"):
            receiver.listen()
        with listening_at(receiver.url), pytest.raises(RunFailed, match="can't listen"):
            receiver.set_fault(None)


@contextmanager
def listening_at(url: str) -> Iterator[None]:
    """Listen at the receiver's URL, as another program would."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", urllib3.util.parse_url(url).port))
        other.listen()
        yield
