"""Sends requests to a target until each has a response, or disconnects. Runs on the event loop."""

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, NamedTuple

from tornado.iostream import IOStream, StreamClosedError

from load.chaos.faults import RECORD, WEBHOOK
from load.chaos.report import BALANCER, DROPPED, REFUSED, UNAVAILABLE, WRONG
from load.chaos.target import Target
from load.http.connection import Connection, NoConnection, NoResponse, Response, TooSlow, send_request
from load.orders.comparison import ACCEPTED, CONFLICT, check_known, check_many, check_new, check_read, check_status
from load.orders.generated import as_another_order
from load.readback import GONE

ANSWER_LIMIT_S = 25.0  # A response can take over 13 s: the server waits up to 10 s for a lock, and 3 s while frozen.
RETRY_S = 0.1  # The pause before the next attempt. Shorter than Retry-After, so that clients send more during faults.
CATCH_UP_S = 10.0  # After a pause, clients also send the orders that were due in the last 10 s, but no older orders.
CLIENTS = {RECORD: (16, 2, 2), WEBHOOK: (6, 1, 1)}  # How many clients send single orders, arrays, and NDJSON.
LOWEST_RATE, MAX_SINGLE_RATE, MAX_WEBHOOK_RATE, RATE_RESERVE = 600.0, 400.0, 100.0, 1.4
SMALLEST_BULK, LARGEST_BULK, WEBHOOK_BULK = 200, 800, 40
RETRY_AFTER = b"\r\nretry-after:"
NDJSON = "application/x-ndjson"
STORAGE_UNAVAILABLE, COMMIT_UNKNOWN = b"/problems/storage-unavailable", b"/problems/commit-unknown"
DISK_FULL = "disk full"
FROM_BALANCER = (502, 503, 504)
LINES_PER_REQUEST = 400
CONNECT_LIMIT_S, RESET_SHARE = 1.0, 0.5
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # The value of SO_LINGER for which close() sends RST.
READ = 2  # A choice of `_follow_up`.
FOLLOW_UP_SHARE = 0.05  # The share of orders after which a client repeats an order; the same for conflicts and reads.
BULK_FOLLOW_UP_SHARE = 0.2


class Reply(NamedTuple):
    """The final response, after `unavailable` attempts with a 503, and `unanswered` other attempts.

    After `unanswered` attempts, it was not known whether the order is stored.
    """

    answer: Response
    unanswered: int
    unavailable: int


@dataclass(kw_only=True)
class RateLimit:
    """Limits how many orders all clients together send per second. Stops the clients when `ending` is set."""

    per_second: float
    clock_s: Callable[[], float]
    ending: asyncio.Event

    def __post_init__(self) -> None:
        self._next_s = self.clock_s()

    async def acquire(self, count: int) -> bool:
        """Wait until the caller is allowed to send `count` orders. Return False if `ending` is set."""
        now_s = self.clock_s()
        due_s = max(self._next_s, now_s - CATCH_UP_S)
        self._next_s = due_s + count / self.per_second
        if due_s > now_s:
            with suppress(TimeoutError):
                async with asyncio.timeout(due_s - now_s):
                    await self.ending.wait()
        return not self.ending.is_set()


class RetryingClient:
    """Sends requests over one keep-alive connection. Repeats each request until it gets a response other than 503.

    After a response of the load balancer itself, it is not known whether the order is stored.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._connection = Connection(target.address)

    async def send(self, request: bytes) -> Reply:
        unanswered = unavailable = 0
        errors = self._target.client_errors
        while True:
            try:
                answer = await send_request(self._connection, request, limit_s=ANSWER_LIMIT_S)
            except TooSlow as problem:
                self._target.findings.add(WRONG, str(problem))
                unanswered += 1
            except NoConnection:
                errors[REFUSED] += 1
                if self._target.balancer:
                    self._target.balancer.check()
            except NoResponse:
                errors[DROPPED] += 1
                unanswered += 1
            else:
                if answer.status in FROM_BALANCER and self._target.node_of(answer) is None:
                    errors[BALANCER] += 1
                    unanswered += 1
                elif answer.status != 503:
                    return Reply(answer, unanswered, unavailable)
                else:
                    is_unknown = COMMIT_UNKNOWN in answer.body
                    unanswered += is_unknown
                    unavailable += not is_unknown
                    errors[UNAVAILABLE] += 1
                    errors[DISK_FULL] += STORAGE_UNAVAILABLE in answer.body
                    if RETRY_AFTER not in answer.head:
                        self._target.findings.add(WRONG, "a 503 without Retry-After")
            await asyncio.sleep(RETRY_S)

    def close(self) -> None:
        self._connection.close()


async def send_single_orders(target: Target, *, rate_limit: RateLimit, rng: Random) -> None:
    """Send new orders one by one until `rate_limit` ends. After some of them, repeat or read an earlier order."""
    ledger = target.ledger
    with closing(RetryingClient(target)) as client:
        while await rate_limit.acquire(1):
            indexes = ledger.take(1, is_sent=True)
            index = indexes[0]
            order_id = ledger.orders.order_id(index)
            reply = await client.send(target.address.post("/order", ledger.orders.body(index)))
            # An attempt without a response can have stored the order. An attempt with another 503 has not stored it.
            problem = check_new(reply.answer, order_id, may_be_known=reply.unanswered > 0)
            target.findings.add_answer("a new order", problem, order_id)
            if reply.answer.status == ACCEPTED:
                target.note_acknowledged(indexes, reply.answer)
            known = ledger.any_acknowledged(rng)
            roll = rng.random()
            if known is not None and roll < 3 * FOLLOW_UP_SHARE:
                await _follow_up(target, client, known, int(roll / FOLLOW_UP_SHARE))


async def _read_or_gone(target: Target, client: RetryingClient, index: int) -> None:
    """Read an acknowledged order that can have been archived."""
    orders = target.ledger.orders
    order_id = orders.order_id(index)
    reply = await client.send(target.address.get(f"/order/{order_id}"))
    if reply.answer.status == GONE:
        target.gone.add(order_id)
    else:
        problem = check_read(reply.answer, orders.order(index))
        target.findings.add_answer("an acknowledged order", problem, order_id)


async def _follow_up(target: Target, client: RetryingClient, index: int, choice: int) -> None:
    """Repeat an acknowledged order (choice 0), send it with a changed value (1), or read it (2)."""
    orders, address = target.ledger.orders, target.address
    order_id, body = orders.order_id(index), orders.body(index)
    again, changed = address.post("/order", body), address.post("/order", as_another_order(body))
    if choice == READ and target.archives:
        await _read_or_gone(target, client, index)
        return
    name, request, check = (
        ("an acknowledged order that was sent again", again, partial(check_known, order_id=order_id)),
        ("a different order with a known id", changed, partial(check_status, status=CONFLICT)),
        ("an acknowledged order", address.get(f"/order/{order_id}"), partial(check_read, order=orders.order(index))),
    )[choice]
    target.findings.add_answer(name, check((await client.send(request)).answer), order_id)


async def send_bulk_orders(target: Target, *, most: int, as_lines: bool, rate_limit: RateLimit, rng: Random) -> None:
    """Send requests with up to `most` new orders until `rate_limit` ends: NDJSON if `as_lines`, otherwise arrays.

    In some requests, two more orders follow: an acknowledged order, and this order with a changed value.
    """
    ledger = target.ledger
    with closing(RetryingClient(target)) as client:
        while await rate_limit.acquire(count := rng.randint(max(1, most // 4), most)):
            known = ledger.any_acknowledged(rng) if rng.random() < BULK_FOLLOW_UP_SHARE else None
            indexes = ledger.take(count, is_sent=True)
            bodies = [ledger.orders.body(index) for index in indexes]
            if known is not None:
                body = ledger.orders.body(known)
                bodies += [body, as_another_order(body)]
            lines = target.address.post("/orders", b"\n".join(bodies), content=NDJSON)
            array = target.address.post("/orders", b"[%s]" % b",".join(bodies))
            reply = await client.send(lines if as_lines else array)
            # An attempt without a response, or with a 503, can have stored some of the orders.
            may_repeat = bool(reply.unanswered or reply.unavailable)
            problem = check_many(reply.answer, new=count, has_known=known is not None, may_repeat=may_repeat)
            target.findings.add_answer("a request with new orders", problem, ledger.orders.order_id(indexes[0]))
            if not problem:
                target.note_acknowledged(indexes, reply.answer)


async def disconnect_clients(target: Target, *, clients: int, longest_s: float, rng: Random) -> int:
    """Send a part of a request on each of `clients` connections, then disconnect. Return how many parts were sent."""
    parts = [(_cut_request(target, n % 4, rng), rng.uniform(0, longest_s)) for n in range(clients)]
    return sum(await asyncio.gather(*(_send_and_leave(target, part, stay_s, rng) for part, stay_s in parts)))


async def _send_and_leave(target: Target, part: bytes, stay_s: float, rng: Random) -> bool:
    """Send a part of a request, wait, then close or reset the connection. Return False if the part was not sent."""
    stream = IOStream(socket.socket(target.address.family, socket.SOCK_STREAM))
    try:
        async with asyncio.timeout(stay_s + CONNECT_LIMIT_S):
            await stream.connect(target.address.sockaddr)
            await stream.write(part)
            await asyncio.sleep(stay_s)
        if rng.random() < RESET_SHARE and not stream.closed():
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    except (StreamClosedError, OSError, TimeoutError):
        return False
    finally:
        stream.close()
    return True


def _cut_request(target: Target, way: int, rng: Random) -> bytes:
    """Encode a request and cut it off: in the head (way 0), in the body (1), not at all (2), or in an NDJSON line (3).

    Only orders that are complete in the request are recorded as sent, because the server can't store incomplete orders.
    """
    ledger, address = target.ledger, target.address
    if way == 0:
        head = address.post("/order", b"")
        return head[: rng.randrange(1, len(head) - 4)]
    indexes = ledger.take(LINES_PER_REQUEST if way == 3 else 1, is_sent=way == 2)
    bodies = [ledger.orders.body(index) for index in indexes]
    if way < 3:
        request = address.post("/order", bodies[0])
        return request if way == 2 else request[: -rng.randrange(1, len(bodies[0]))]
    whole = rng.randrange(1, len(bodies))
    ledger.note_sent(indexes[:whole])
    cut = len(b"\n".join(bodies[whole:])) - rng.randrange(1, len(bodies[whole]))
    return address.post("/orders", b"\n".join(bodies), content=NDJSON)[:-cut]


def plan_rates(*, orders: int, duration_s: float) -> dict[str, tuple[float, float]]:
    """Return for each target two rates: orders per second sent one by one, and in arrays or NDJSON.

    With these rates, the servers acknowledge `orders` orders within `duration_s`.
    """
    total = max(LOWEST_RATE, RATE_RESERVE * orders / max(1.0, duration_s))
    webhook = min(MAX_WEBHOOK_RATE, total / 10)
    single = min(MAX_SINGLE_RATE, total / 2)
    return {RECORD: (single, total - single - webhook), WEBHOOK: (webhook / 2, webhook / 2)}


def client_sessions(
    target: Target, rates: tuple[float, float], *, seed: int, ending: asyncio.Event
) -> Iterator[Coroutine[Any, Any, None]]:
    """Yield a coroutine for each client. It sends orders until `ending` is set, and returns after the last response."""
    single_limit, bulk_limit = (RateLimit(per_second=rate, clock_s=time.monotonic, ending=ending) for rate in rates)
    most = round(min(LARGEST_BULK, max(SMALLEST_BULK, rates[1] / 2))) if target.name == RECORD else WEBHOOK_BULK
    singles, arrays, lines = CLIENTS[target.name]
    for number in range(singles + arrays + lines):
        rng = Random(f"client {seed} {target.name} {number}")
        if number < singles:
            yield send_single_orders(target, rate_limit=single_limit, rng=rng)
        else:
            as_lines = number >= singles + arrays
            yield send_bulk_orders(target, most=most, as_lines=as_lines, rate_limit=bulk_limit, rng=rng)
