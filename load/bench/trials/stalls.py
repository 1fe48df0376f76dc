"""Measures how long GET requests wait while the server parses the bodies that take longest. Runs on the event loop."""

import asyncio
from collections.abc import Coroutine, Iterator
from itertools import islice
from typing import Any, NamedTuple

import urllib3
from urllib3.exceptions import HTTPError

from load.bench.measurement import TIMEOUTS, Measurement, expect, percentile_ms
from load.bench.trial import Row, Trial
from load.bench.workloads import new_order, posts

POLL_S = 0.005
ROUNDS = 3
MAX_ALONE = 20
POSTS = 500
MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_ORDER_BYTES = 64 * 1024
ORDERS = 1_000
JSON, LINES = "application/json", "application/x-ndjson"
LINES_BYTES = 256 * 1024  # 8 MiB would have 2.8 million lines of three bytes: half a minute if each takes 10 µs.
STALL = "the longest that /livez waits while the worst body of 8 MiB is taken in, against one bare POST"


class WorstBody(NamedTuple):
    """A request body that takes long to parse. `name` describes it. `statuses` are allowed in the response."""

    name: str
    media_type: str
    body: bytes
    statuses: tuple[int, ...] = (422,)


def worst_bodies(ids: Iterator[int]) -> Iterator[WorstBody]:
    """Yield the bodies one by one, because together they need much memory. Valid orders have ids from `ids`."""
    yield _array("bad items", _order(item_ids=_list(b"0", 1000)))
    yield _array("many commas", [_order(each, metadata=_list(b"1", 3800)) for each in islice(ids, ORDERS)], 202)
    long = [_order(each, item_ids=_list(b"1234567", 1000)) for each in islice(ids, ORDERS)]
    yield _array("good items", long, 202)
    yield _array("duplicates", long, 202)
    keys = b",".join(b'"k%d":1' % each for each in range(6000))
    yield _array("unknown keys", b"{%s}" % keys)
    repeated = b",".join(b'"%d":1,"%d":1' % (each, each) for each in range(2000))
    around = b"".join(b'{"%b%d":' % ("é".encode() * 300, each) for each in range(50))
    yield _array("repeated keys below long ones", around + b"{%s}" % repeated + b"}" * 50)
    yield _array("repeated keys in small objects", b'{"x":%s}' % _list(b'{"":1,"":1}', 5000))
    yield _array("empty objects", b'{"x":%s}' % _list(b"{}", 20_000))
    yield _array("deep arrays", b'{"x":%s}' % _list(b"[" * 90 + b"]" * 90, 350))
    yield _array("long strings", b'{"x":"%s"}' % (b"\\n" * 30_000))
    yield WorstBody("white space", JSON, b"[" + b" " * (MAX_BODY_BYTES - 2) + b"]")
    yield WorstBody("not JSON", JSON, b"[" * MAX_BODY_BYTES, (400,))
    yield WorstBody("blank lines", LINES, b"\n" * MAX_BODY_BYTES)
    yield WorstBody("short lines", LINES, b"{}\n" * (LINES_BYTES // 3))


def _array(name: str, orders: bytes | list[bytes], status: int = 422) -> WorstBody:
    """Return an array of these orders. If `orders` is a single order, it is repeated as often as the limits allow."""
    if isinstance(orders, bytes):
        orders = [orders] * min(ORDERS, (MAX_BODY_BYTES - 2) // (len(orders) + 1))
    return WorstBody(name, JSON, b"[%s]" % b",".join(orders), (status,))


def _order(order_id: int = 1, *, item_ids: bytes = b"[1]", metadata: bytes | None = None) -> bytes:
    last = b"" if metadata is None else b',"metadata":{"a":%s}' % metadata
    return b'{"order_id":%d,"user_id":1,"item_ids":%s,"total_amount":1%s}' % (order_id, item_ids, last)


def _list(value: bytes, count: int) -> bytes:
    return b"[%s]" % b",".join([value] * count)


async def stalls(trial: Trial) -> list[Row]:
    """Send GET /livez every 5 ms, and measure how long it waits while the server parses each of the worst bodies.

    A run sends every body in three rounds, and notes the latency of the slowest GET in each round. The wait for a body
    is the shortest of its three latencies: a delay that the body causes occurs in all rounds, but a delay with another
    cause does not. The value of a run is the longest wait for any body, divided by the median latency of a POST to bare
    Tornado.
    """
    row = Row(name=STALL, at_most=100.0, aim=30.0)
    for number in range(1, trial.runs + 1):
        requests = islice(posts(trial.other.address, trial.other.ids), POSTS)
        bare = await trial.meter.throughput(trial.other.address, requests, new_order, clients=1)
        alone = await _poll_during(trial, asyncio.sleep(trial.seconds))
        trial.check(row, bare, alone)
        bare_ms, alone_ms = percentile_ms(bare.latencies_ns, 50), percentile_ms(alone.latencies_ns, 100)
        waits_ms: dict[str, float] = {}
        for _ in range(ROUNDS):
            for body in worst_bodies(trial.ours.ids):
                polled = await _poll_during(trial, _take_in(trial, row, body))
                row.wrong.update(polled.wrong)
                longest_ms = percentile_ms(polled.latencies_ns, 100)
                waits_ms[body.name] = min(longest_ms, waits_ms.get(body.name, longest_ms))
        worst = max(waits_ms, key=lambda name: waits_ms[name])
        ratio = waits_ms[worst] / bare_ms
        if alone_ms > MAX_ALONE * bare_ms:
            row.invalid[f"/livez alone waited over {MAX_ALONE} times as long as a bare POST takes"] += 1
        figures = {f"{name.replace(' ', '_')}_ms": each_ms for name, each_ms in waits_ms.items()}
        row.runs.append({"bare_post_ms": bare_ms, "alone_ms": alone_ms, **figures, "value": ratio})
        trial.print_line(
            f"run {number}: one bare POST {bare_ms:.3f} ms, the longest wait {waits_ms[worst]:.2f} ms ({worst}),"
            f" times as long {ratio:.1f}; without any body {alone_ms:.2f} ms"
        )
        trial.print_line(f"        ms: {', '.join(f'{name} {each_ms:.2f}' for name, each_ms in waits_ms.items())}")
    return [row]


async def _poll_during(trial: Trial, work: Coroutine[Any, Any, None]) -> Measurement:
    """Send GET /livez to our server every 5 ms until `work` has ended, and measure the responses."""
    address = trial.ours.address
    return await trial.meter.polling(address, address.get("/livez"), expect(200), interval_s=POLL_S, until=work)


async def _take_in(trial: Trial, row: Row, body: WorstBody) -> None:
    """Send the body over a new connection, and wait until its orders are processed."""
    url, headers = f"{trial.ours.address.url}/orders", {"Content-Type": body.media_type}
    try:
        with urllib3.PoolManager(headers=headers, timeout=TIMEOUTS.answer_s, retries=False) as pool:
            # In a thread, because sending so many bytes on this event loop would delay the GETs.
            status = (await asyncio.to_thread(pool.request, "POST", url, body=body.body)).status
    except HTTPError as problem:
        row.wrong[f"no answer for {body.name}: {problem}"] += 1
        return
    if status not in body.statuses:
        row.wrong[f"status {status} for {body.name}"] += 1
    await trial.wait_until_processed(trial.ours.address)
