"""Measures how long GET requests wait while the server parses the bodies that take longest. Runs on the event loop."""

import asyncio
import socket
from collections.abc import Coroutine
from functools import partial
from itertools import islice
from typing import Any

from load.bench.measurement import TIMEOUTS, Measurement, expect, percentile_ms
from load.bench.trial import Row, Trial
from load.bench.workloads import new_order, posts
from load.bench.worst_bodies import WorstBody, worst_bodies
from load.http.address import Address
from load.http.connection import MalformedResponse, ResponseReader

POLL_S = 0.005
ROUNDS = 3
MAX_ALONE = 20
POSTS = 500
STEP_BYTES = 1 << 20
STALL = "the longest that /livez waits while the worst body of 8 MiB is taken in, against one bare POST"


async def stalls(trial: Trial) -> list[Row]:
    """Send GET /livez every 5 ms, and measure how long it waits while the server parses each of the worst bodies.

    A run sends every body in three rounds, and notes the latency of the slowest GET in each round. The wait for a body
    is the shortest of its three latencies: a delay that the body causes occurs in all rounds, a delay with another
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
    """Send the body and wait until its orders are processed."""
    # In a thread, because sending so many bytes on this event loop would delay the GETs.
    try:
        status = await asyncio.to_thread(_send, trial.ours.address, body)
    except (OSError, MalformedResponse) as problem:
        row.wrong[f"no answer for {body.name}: {problem}"] += 1
        return
    if status not in body.statuses:
        row.wrong[f"status {status} for {body.name}"] += 1
    await trial.wait_until_processed(trial.ours.address)


def _send(address: Address, body: WorstBody) -> int:
    """Send a body over a new connection and return the response's status. Raises OSError or MalformedResponse."""
    request = address.post("/orders", body.body, content=body.media_type)
    with socket.create_connection(address.sockaddr[:2], timeout=TIMEOUTS.answer_s) as client:
        client.sendall(request)
        reader = ResponseReader()
        for data in iter(partial(client.recv, STEP_BYTES), b""):
            if response := reader.add(data):
                return response.status
    raise ConnectionError("the connection was closed before the answer")
