"""Tests the clients of a closed loop with a server that refuses connections or does not answer."""

import asyncio
import time
from itertools import count

import pytest
from tornado.iostream import IOStream
from tornado.tcpserver import TCPServer
from tornado.testing import bind_unused_port

from load.http.address import Address, ServerUrl, Unreachable, reach
from load.http.connection import Response
from load.http.connections import Connections, RequestTiming, Timeouts
from tests.load.shop import Fault, Shop


class Greeter(TCPServer):
    """A server that answers one request per connection."""

    async def handle_stream(self, stream: IOStream, address: tuple[str, int]) -> None:
        await stream.read_until(b"\r\n\r\n")
        await stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


class Outcomes:
    def __init__(self) -> None:
        self.answered: list[int] = []
        self.reasons: list[str] = []

    def answer(self, key: int, answer: Response, timing: RequestTiming) -> None:
        self.answered.append(answer.status)

    def fail(self, key: int, reason: str) -> None:
        self.reasons.append(reason)


async def _address_without_a_server() -> Address:
    listener, port = bind_unused_port()
    listener.listen()
    address = await reach(ServerUrl.parse(f"http://127.0.0.1:{port}"), timeout_s=5)
    listener.close()
    return address


@pytest.mark.gen_test
async def test_a_refused_connection_is_tried_again_until_the_server_is_back() -> None:
    address = await _address_without_a_server()
    clients = Connections(address, count=1, timeouts=Timeouts(), clock_ns=time.perf_counter_ns)
    outcomes = Outcomes()
    jobs = iter([(1, address.get("/"))])
    working = asyncio.create_task(clients.work(jobs, answered=outcomes.answer, unanswered=outcomes.fail))
    with pytest.raises(Unreachable):
        await reach(address.url, timeout_s=5)
    server = Greeter()
    server.listen(address.url.port, "127.0.0.1")
    await working
    clients.close()
    server.stop()
    assert (outcomes.answered, outcomes.reasons, clients.gone) == ([200], [], False)


@pytest.mark.gen_test
async def test_clients_give_up_when_the_connection_time_out_has_passed() -> None:
    address = await _address_without_a_server()
    second_ns = 1_000_000_000
    clock_ns = count(0, 2 * second_ns).__next__
    clients = Connections(address, count=1, timeouts=Timeouts(connection_s=1.0), clock_ns=clock_ns)
    outcomes = Outcomes()
    jobs = iter([(1, address.get("/")), (2, address.get("/"))])
    await clients.work(jobs, answered=outcomes.answer, unanswered=outcomes.fail)
    assert (outcomes.answered, outcomes.reasons, clients.gone) == ([], ["connection refused"], True)
    assert next(jobs)[0] == 2


@pytest.mark.gen_test
async def test_a_request_without_an_answer_is_given_up_and_its_client_goes_on(shop: Shop) -> None:
    shop.faults[2] = Fault.HOLD
    address = await reach(ServerUrl.parse(shop.url))
    outcomes = Outcomes()

    def clock_ns() -> int:
        # The clock advances when all other requests are answered.
        return 1_000_000_000 if len(outcomes.answered) == 5 else 0

    clients = Connections(address, count=2, timeouts=Timeouts(answer_s=0.02), clock_ns=clock_ns)
    jobs = ((order_id, address.post("/order", b'{"order_id": %d}' % order_id)) for order_id in range(1, 7))
    await clients.work(jobs, answered=outcomes.answer, unanswered=outcomes.fail)
    clients.close()
    assert (outcomes.answered, outcomes.reasons) == ([202] * 5, ["no answer within 0.02 s"])
