"""The sessions of clients that send orders to a target, and repeat or read some of them. Runs on the event loop."""

import asyncio
import time
from collections.abc import Coroutine, Iterator
from contextlib import closing
from functools import partial
from random import Random
from typing import Any

from load.chaos.clients.client import RetryingClient
from load.chaos.clients.rate_limit import RateLimit
from load.chaos.faults import RECORD, WEBHOOK
from load.chaos.target import Target
from load.orders.comparison import ACCEPTED, CONFLICT, check_known, check_many, check_new, check_read, check_status
from load.orders.generated import as_another_order
from load.readback.order_reader import GONE

CLIENTS = {RECORD: (16, 2, 2), WEBHOOK: (6, 1, 1)}  # How many clients send single orders, arrays, and NDJSON.
LOWEST_RATE, MAX_SINGLE_RATE, MAX_WEBHOOK_RATE, RATE_RESERVE = 600.0, 400.0, 100.0, 1.4
SMALLEST_BULK, LARGEST_BULK, WEBHOOK_BULK = 200, 800, 40
NDJSON = "application/x-ndjson"
READ = 2  # A choice of `_follow_up`.
FOLLOW_UP_SHARE = 0.05  # The share of orders after which a client repeats an order; the same for conflicts and reads.
BULK_FOLLOW_UP_SHARE = 0.2


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
