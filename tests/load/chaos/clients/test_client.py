"""Tests the clients that repeat each order until it has a response, and their rate limit."""

import asyncio
from itertools import chain, count
from typing import Any

from tornado.iostream import IOStream
from tornado.tcpserver import TCPServer
from tornado.testing import bind_unused_port

from load.chaos.clients.client import Reply, RetryingClient
from load.chaos.clients.rate_limit import CATCH_UP_S, RateLimit
from load.chaos.report import BALANCER, WRONG
from load.chaos.target import Target
from load.http.address import Address, ServerUrl
from tests.load.chaos.conftest import Send
from tests.load.shop import Shop

BUSY = b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
FULL_BODY = b'{"type":"/problems/storage-unavailable"}'
FULL = b"HTTP/1.1 503 Busy\r\nContent-Length: %d\r\n\r\n%b" % (len(FULL_BODY), FULL_BODY)
DONE = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"


class ScriptedServer(TCPServer):
    """A server that answers each request with the next of `answers`. An empty answer closes the connection."""

    def __init__(self, *answers: bytes) -> None:
        super().__init__()
        self._answers = chain(answers)

    async def handle_stream(self, stream: IOStream, address: tuple[str, int]) -> None:
        for answer in self._answers:
            await stream.read_until(b"\r\n\r\n")
            if not answer:
                break
            await stream.write(answer)
        stream.close()


def ask(target: Target, *answers: bytes) -> Reply:
    async def run() -> Reply:
        listener, port = bind_unused_port()
        server = ScriptedServer(*answers)
        server.add_socket(listener)
        url = f"http://127.0.0.1:{port}"
        listening: Any = target.balancer or target.nodes[0]
        listening.address = Address(ServerUrl.parse(url), listener.family, ("127.0.0.1", port))
        client = RetryingClient(target)
        try:
            return await client.send(target.address.post("/order", b""))
        finally:
            client.close()
            server.stop()

    return asyncio.run(run())


def test_a_503_and_a_broken_connection_are_retried(target: Target) -> None:
    reply = ask(target, b"", BUSY, DONE)
    assert (reply.answer.status, reply.unanswered, reply.unavailable) == (202, 1, 1)
    assert target.client_errors == {"dropped": 1, "503s": 1, "disk full": 0}
    assert target.findings.problems[WRONG] == []


def test_a_503_without_retry_after_is_wrong_and_a_full_disk_is_counted(target: Target) -> None:
    ask(target, FULL, DONE)
    assert target.client_errors == {"503s": 1, "disk full": 1}
    assert target.findings.problems[WRONG] == [("a 503 without Retry-After", 0)]


def test_after_a_response_of_the_load_balancer_it_is_not_known_whether_the_order_is_stored(balanced: Target) -> None:
    answers = [b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status for status in (502, 503, 504)]
    reply = ask(balanced, *answers, DONE.replace(b"\r\n\r\n", sent_by(balanced, 2)))
    assert (reply.answer.status, reply.unanswered, reply.unavailable) == (202, 3, 0)
    assert (balanced.client_errors, balanced.node_of(reply.answer)) == ({BALANCER: 3}, 2)
    assert balanced.findings.problems[WRONG] == []


def test_a_502_of_a_server_behind_the_load_balancer_is_a_response(balanced: Target) -> None:
    failed = b"HTTP/1.1 502 Failed\r\nContent-Length: 0" + sent_by(balanced, 0)
    assert ask(balanced, failed, DONE).answer.status == 502


def sent_by(target: Target, node: int) -> bytes:
    """The last header of a response that the load balancer passes on from this server."""
    return b"\r\nX-Node: 127.0.0.1:%d\r\n\r\n" % target.nodes[node].address.url.port


def test_a_server_that_takes_a_different_order_with_a_known_id_is_found(target: Target, send: Send, shop: Shop) -> None:
    send(100)
    assert target.ledger.acknowledged == 100
    assert {what for what, _ in target.findings.problems[WRONG]} == {
        "a different order with a known id: status 202 instead of 409"
    }
    assert len(set(shop.ids)) == 100 < len(shop.ids)


def test_a_refused_order_is_wrong_and_not_acknowledged(target: Target, send: Send, shop: Shop) -> None:
    order_id = target.ledger.orders.order_id(0)
    shop.refusals[order_id] = 500
    send(1)
    assert target.findings.problems[WRONG] == [("a new order: status 500 instead of 202", order_id)]
    assert target.ledger.acknowledged == 0


def test_due_orders_are_sent_at_once_and_waiting_ends_with_the_run() -> None:
    async def run() -> list[bool]:
        now_s = [1000.0]
        ending = asyncio.Event()
        limit = RateLimit(per_second=1.0, clock_s=lambda: now_s[0], ending=ending)
        now_s[0] += 3
        turns = [await limit.acquire(3)]
        waiting = asyncio.create_task(limit.acquire(3600))
        await asyncio.sleep(0)
        # The latest request was due at once, but the next request is not.
        turns.append(await waiting)
        waiting = asyncio.create_task(limit.acquire(1))
        await asyncio.sleep(0)
        assert not waiting.done()
        ending.set()
        return [*turns, await waiting]

    assert asyncio.run(run()) == [True, True, False]


def test_only_the_last_seconds_of_a_pause_are_caught_up() -> None:
    async def run() -> int:
        now_s = [0.0]
        ending = asyncio.Event()
        limit = RateLimit(per_second=8.0, clock_s=lambda: now_s[0], ending=ending)
        now_s[0] = 1000.0
        for sent in count():
            turn = asyncio.create_task(limit.acquire(1))
            await asyncio.sleep(0)
            if not turn.done():
                ending.set()
                await turn
                return sent
        return 0

    # The request that is due right now is also sent.
    assert asyncio.run(run()) == 8 * CATCH_UP_S + 1
