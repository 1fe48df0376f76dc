"""Sends requests to a target server until each has a response, and checks the responses. Runs on the event loop.

The functions `check_...` return what is wrong, or an empty string.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, suppress
from random import Random
from typing import Any, NamedTuple

from load.chaos.report import DROPPED, RECORD, REFUSED, UNAVAILABLE, WEBHOOK, WRONG
from load.chaos.target import TargetServer
from load.http.connection import Connection, NoConnection, NoResponse, Response
from load.orders.comparison import ACCEPTED, REPLAYED, BadJson, counts_in, decode_json, difference_in, mistake_in
from load.orders.generated import as_another_order

OK, CONFLICT = 200, 409
ANSWER_LIMIT_S = 25.0  # A response can take over 13 s: the server waits up to 10 s for a lock, and 3 s while frozen.
RETRY_S = 0.1  # The pause before the next attempt. Shorter than Retry-After, so that clients send more during faults.
CATCH_UP_S = 10.0  # After a pause, clients also send the orders that were due in the last 10 s, but no older ones.
CLIENTS = {RECORD: (16, 2, 2), WEBHOOK: (6, 1, 1)}  # How many clients send single orders, arrays, and NDJSON.
LOWEST_RATE, MAX_SINGLE_RATE, MAX_WEBHOOK_RATE, RATE_RESERVE = 600.0, 400.0, 100.0, 1.4
SMALLEST_BULK, LARGEST_BULK, WEBHOOK_BULK = 200, 800, 40
RETRY_AFTER = b"\r\nretry-after:"
NDJSON = "application/x-ndjson"
STORAGE_UNAVAILABLE = b"/problems/storage-unavailable"
DISK_FULL = "disk full"
FOLLOW_UP_SHARE = 0.05  # The share of orders after which a client repeats an order; the same for conflicts and reads.
BULK_FOLLOW_UP_SHARE = 0.2


class Reply(NamedTuple):
    """The final response, after `unanswered` attempts without a response and `unavailable` attempts with a 503."""

    answer: Response
    unanswered: int
    unavailable: int


def check_new(reply: Reply, order_id: int) -> str:
    if problem := _check_accepted(reply.answer, order_id, "a new order"):
        return problem
    # An attempt without a response can have stored the order. An attempt with a 503 has not.
    if REPLAYED not in reply.answer.head or reply.unanswered:
        return ""
    return "a replay after a 503 that stored nothing" if reply.unavailable else "a new order was answered as a replay"


def check_replay(reply: Reply, order_id: int) -> str:
    if problem := _check_accepted(reply.answer, order_id, "an acknowledged order that was sent again"):
        return problem
    return "" if REPLAYED in reply.answer.head else "a replay was answered as a new order"


def check_conflict(reply: Reply) -> str:
    """Check the response to an order that has the id of an acknowledged order, but other values."""
    status = reply.answer.status
    return "" if status == CONFLICT else f"a different order with a known id got {status}"


def check_read(reply: Reply, order: dict[str, object]) -> str:
    if reply.answer.status != OK:
        return f"reading an acknowledged order got {reply.answer.status}"
    try:
        difference = difference_in(order, decode_json(reply.answer.body))
    except BadJson:
        return "reading an acknowledged order got no JSON"
    return "an acknowledged order was read with other values" if difference else ""


def check_bulk(reply: Reply, *, new: int, has_known: bool) -> str:
    """Check the response to `new` new orders. If `has_known`, a repeated order and a changed order follow them."""
    if reply.answer.status != ACCEPTED:
        return f"a request with new orders got {reply.answer.status}"
    counts = counts_in(reply.answer)
    if counts is None:
        return "a 202 that does not count the orders"
    if not counts.adds_up(new + 2 * has_known):
        return "a 202 whose counts don't add up"
    if [(each.index, each.status) for each in counts.rejected] != [(new + 1, CONFLICT)] * has_known:
        return "a 202 that rejects other orders than the conflicting one"
    # An attempt without a response, or with a 503, can have stored some of the orders.
    if counts.duplicates != has_known and not (reply.unanswered or reply.unavailable):
        return "a 202 that counts new orders as duplicates"
    return ""


def _check_accepted(answer: Response, order_id: int, name: str) -> str:
    if answer.status != ACCEPTED:
        return f"{name} got {answer.status}"
    if mistake := mistake_in(answer, order_id):
        return mistake
    locations = [line[9:].strip() for line in answer.head.split(b"\r\n") if line.startswith(b"location:")]
    return "" if locations == [b"/order/%d" % order_id] else "a 202 whose Location is not the order's"


class RateLimit:
    """Limits how many orders all clients together send per second. Stops the clients when `ending` is set."""

    def __init__(self, *, per_second: float, clock_s: Callable[[], float], ending: asyncio.Event) -> None:
        self._interval_s = 1 / per_second
        self._clock_s = clock_s
        self._ending = ending
        self._next_s = clock_s()

    async def acquire(self, count: int) -> bool:
        """Wait until the caller is allowed to send `count` orders. Return False if `ending` is set."""
        now_s = self._clock_s()
        due_s = max(self._next_s, now_s - CATCH_UP_S)
        self._next_s = due_s + count * self._interval_s
        if due_s > now_s:
            with suppress(TimeoutError):
                async with asyncio.timeout(due_s - now_s):
                    await self._ending.wait()
        return not self._ending.is_set()


class RetryingClient:
    """Sends requests over one keep-alive connection. Repeats each request until it gets a response other than 503."""

    def __init__(self, target: TargetServer) -> None:
        self._target = target
        self._connection = Connection(target.address)

    async def send(self, request: bytes) -> Reply:
        unanswered = unavailable = 0
        errors = self._target.client_errors
        while True:
            try:
                async with asyncio.timeout(ANSWER_LIMIT_S):
                    answer = await self._connection.exchange(request)
            except TimeoutError:
                self._connection.close()
                self._target.findings.add(WRONG, f"no answer within {ANSWER_LIMIT_S:g} s")
                unanswered += 1
            except NoConnection:
                errors[REFUSED] += 1
            except NoResponse:
                errors[DROPPED] += 1
                unanswered += 1
            else:
                if answer.status != 503:
                    return Reply(answer, unanswered, unavailable)
                unavailable += 1
                errors[UNAVAILABLE] += 1
                errors[DISK_FULL] += STORAGE_UNAVAILABLE in answer.body
                if RETRY_AFTER not in answer.head:
                    self._target.findings.add(WRONG, "a 503 without Retry-After")
            await asyncio.sleep(RETRY_S)

    def close(self) -> None:
        self._connection.close()


async def send_single_orders(target: TargetServer, *, rate_limit: RateLimit, rng: Random) -> None:
    """Send new orders one by one until `rate_limit` ends. After some of them, repeat or read an earlier order."""
    ledger = target.ledger
    with closing(RetryingClient(target)) as client:
        while await rate_limit.acquire(1):
            [index] = ledger.take(1, is_sent=True)
            order_id = ledger.orders.order_id(index)
            reply = await client.send(target.address.post("/order", ledger.orders.body(index)))
            target.findings.add_answer(check_new(reply, order_id), order_id)
            if reply.answer.status == ACCEPTED:
                ledger.note_acknowledged([index])
            known = ledger.any_acknowledged(rng)
            roll = rng.random()
            if known is not None and roll < 3 * FOLLOW_UP_SHARE:
                await _follow_up(target, client, known, int(roll / FOLLOW_UP_SHARE))


async def _follow_up(target: TargetServer, client: RetryingClient, index: int, choice: int) -> None:
    """Repeat an acknowledged order (choice 0), send it with a changed value (1), or read it (2)."""
    orders, address = target.ledger.orders, target.address
    order_id, body = orders.order_id(index), orders.body(index)
    if choice == 0:
        problem = check_replay(await client.send(address.post("/order", body)), order_id)
    elif choice == 1:
        problem = check_conflict(await client.send(address.post("/order", as_another_order(body))))
    else:
        problem = check_read(await client.send(address.get(f"/order/{order_id}")), orders.order(index))
    target.findings.add_answer(problem, order_id)


async def send_bulk_orders(
    target: TargetServer, *, most: int, as_lines: bool, rate_limit: RateLimit, rng: Random
) -> None:
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
            problem = check_bulk(reply, new=count, has_known=known is not None)
            target.findings.add_answer(problem, ledger.orders.order_id(indexes[0]))
            if not problem:
                ledger.note_acknowledged(indexes)


def plan_rates(*, orders: int, duration_s: float) -> dict[str, tuple[float, float]]:
    """Return for each target server two rates: orders per second sent one by one, and in arrays or NDJSON.

    With these rates, the servers acknowledge `orders` orders within `duration_s`.
    """
    total = max(LOWEST_RATE, RATE_RESERVE * orders / max(1.0, duration_s))
    webhook = min(MAX_WEBHOOK_RATE, total / 10)
    single = min(MAX_SINGLE_RATE, total / 2)
    return {RECORD: (single, total - single - webhook), WEBHOOK: (webhook / 2, webhook / 2)}


def client_sessions(
    target: TargetServer, rates: tuple[float, float], *, seed: int, ending: asyncio.Event
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
