"""Trials that compare the server's processing with its intake or with another program. Runs on the event loop.

To measure processing without the time for storing orders, processing is paused while the orders are stored, and is then
resumed. The measured window begins after a warm-up and ends before all orders are Completed. So the warm-up and the
last orders, during which threads or connections are idle, do not change the rate. Runs with slow and with fast
processors take equally long.
"""

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice

import urllib3

from load.bench import workloads, wrk
from load.bench.measurement import Measurement
from load.bench.trial import RATE, Row, Server, Trial, Value
from load.bench.trials.sizes import store_pending
from load.cli.errors import CommandError
from load.http.connection import send_once
from load.readback.metrics import Metrics, count_received
from load.system.machine import BUSY_SHARE, ProcessStatus

THREADS = 8
WARM_UP = 0.25  # The warm-up, as a share of the window's time.
CALLS_A_SECOND = 60_000  # How many orders are prepared for each second; more than any server processes.
WEBHOOKS_A_SECOND = 20_000
SLOW_WEBHOOKS_A_SECOND = 5_000
COST_ORDERS_A_SECOND = 2_500  # How many orders `cost` sends for each second of a measurement.
COST_POLL_S = 0.05  # Rare, because polls take CPU time from the server.
PAUSE, RESUME = "pause", "resume"
RAN_OUT = "the prepared orders ran out, so the server may be faster"
RECEIVER_WAS_THE_LIMIT = "the receiver used all of its CPU time, so the server may be faster"
NOT_RECEIVED = "a Completed order that the receiver did not get"
# A request of the loop is as long as a webhook of the server.
TIMES = b', "created_time": "2025-03-01 12:00:00", "created_at": "2025-03-01T12:00:00.123456Z"}'
BODY = workloads.body(12345)[:-1] + TIMES
HEADERS = {
    "Content-Type": "application/json",
    "webhook-id": "order_12345",
    "webhook-timestamp": "1740830400",
    "webhook-signature": f"v1,{'x' * 44}",
}


async def function(trial: Trial) -> list[Row]:
    """Compare the rate of a function that does nothing with the rate of intake of orders while processing is paused."""
    name = "a function that does nothing: completed per second against one-by-one intake in the same run"
    row = Row(name=name, at_least=1.0, aim=2.0)
    for number in range(1, trial.runs + 1):
        await _switch(trial.ours, PAUSE)
        intake = await wrk.post_orders(trial, trial.ours)
        processing = await _process(trial, row, prepared_a_second=CALLS_A_SECOND)
        trial.check(row, intake)
        trial.add_run(row, number, RATE, {"intake": intake, "processing": processing}, value=Value.SPEED)
    return [row]


async def webhooks(trial: Trial) -> list[Row]:
    """Compare the server's webhooks with requests that a loop of urllib3 sends. `trial.other` receives both."""
    name = "webhooks to a fast local receiver: delivered per second against a loop of urllib3 on 8 threads"
    row = Row(name=f"{name} to the same receiver", at_least=3.0, aim=6.0)
    return await _deliver(trial, row, prepared_a_second=WEBHOOKS_A_SECOND, value=Value.SPEED)


async def slow_webhooks(trial: Trial) -> list[Row]:
    name = "webhooks to a receiver that takes 200 ms: delivered per second"
    row = Row(name=name, unit="/s", at_least=250.0, aim=1000.0)
    return await _deliver(trial, row, prepared_a_second=SLOW_WEBHOOKS_A_SECOND, value=Value.SECOND)


async def cost(trial: Trial) -> list[Row]:
    """Measure the CPU time that each server uses for an order, from POST /order until it is Completed."""
    _, *servers = trial.servers
    rows = [Row(name=f"CPU time of the server for an order, with {server.name}", unit=" µs") for server in servers]
    for number in range(1, trial.runs + 1):
        for row, server in zip(rows, servers, strict=True):
            before_s = _cpu_s(server)
            requests = islice(workloads.posts(server.address, server.ids), int(COST_ORDERS_A_SECOND * trial.seconds))
            measured = await trial.meter.throughput(server.address, requests, workloads.new_order)
            await trial.wait_until_processed(server.address, poll_s=COST_POLL_S)
            cost_us = (_cpu_s(server) - before_s) * 1e6 / max(1, measured.right)
            row.wrong.update(measured.wrong)
            row.runs.append({"orders": measured.right, "value": cost_us})
            trial.print_line(f"run {number}: {server.name} {cost_us:.1f} µs an order, of {measured.right:,} orders")
    return rows


async def _deliver(trial: Trial, row: Row, *, prepared_a_second: int, value: Value) -> list[Row]:
    for number in range(1, trial.runs + 1):
        await _switch(trial.ours, PAUSE)
        looped = await asyncio.to_thread(post_in_loop, trial)
        row.wrong.update(looped.wrong)
        delivered = await _process(trial, row, prepared_a_second=prepared_a_second, receiver=trial.other)
        trial.add_run(row, number, RATE, {"urllib3": looped, "ours": delivered}, value=value)
    return [row]


async def _process(trial: Trial, row: Row, *, prepared_a_second: int, receiver: Server | None = None) -> Measurement:
    """Store orders on our paused server, resume the server, and count the orders completed in a window. Pause again."""
    server = trial.ours

    async def look() -> tuple[Metrics, float, float, int]:
        """Return the counts of orders, the CPU times of the server and the receiver, and the time."""
        metrics = await backlog.poll()
        return metrics, _cpu_s(server), _cpu_s(receiver) if receiver else 0.0, trial.meter.clock_ns()

    with closing(trial.backlog(server.address)) as backlog:
        missing = int(prepared_a_second * trial.seconds * (1 + WARM_UP)) - (await backlog.poll()).waiting
        if missing > 0:
            first_id, *_ = islice(server.ids, missing)
            await store_pending(server.address, first_id=first_id, orders=missing)
        before = (await backlog.poll()).completed_orders
        received = await count_received(receiver.address) if receiver else 0
        await _switch(server, RESUME)
        await asyncio.sleep(WARM_UP * trial.seconds)
        first, *begun = await look()
        await asyncio.sleep(trial.seconds)
        last, *ended = await look()
        await _switch(server, PAUSE)
        completed = (await backlog.poll()).completed_orders - before
    # The receiver also counts the request that has read `received`, so 1 is subtracted.
    if receiver and (lost := completed - (await count_received(receiver.address) - received - 1)) > 0:
        row.wrong[NOT_RECEIVED] += lost
    if last.waiting == 0:
        row.invalid[RAN_OUT] += 1
    server_s, receiver_s, elapsed_ns = (after - before for before, after in zip(begun, ended, strict=True))
    right = last.completed_orders - first.completed_orders
    measured = Measurement(right=right, elapsed_s=elapsed_ns / 1e9)
    if receiver_s / measured.elapsed_s > BUSY_SHARE:
        row.invalid[RECEIVER_WAS_THE_LIMIT] += 1
    order_us = server_s * 1e6 / max(1, measured.right)
    trial.print_line(
        f"        CPU of the server {server_s / measured.elapsed_s:.0%}, {order_us:.1f} µs an order,"
        f" of the receiver {receiver_s / measured.elapsed_s:.0%}; {last.waiting:,} orders left"
    )
    return measured


def post_in_loop(trial: Trial) -> Measurement:
    """Send requests similar to webhooks to the receiver. Each of 8 threads sends a request after each response."""
    clock_ns, cpu_clock_ns = trial.meter.clock_ns, trial.meter.cpu_clock_ns
    url = trial.other.address.url
    end_ns = clock_ns() + int(trial.seconds * 1e9)

    def post(pool: urllib3.HTTPConnectionPool) -> Counter[int]:
        statuses = Counter[int]()
        while clock_ns() < end_ns:
            statuses[pool.urlopen("POST", "/orders", body=BODY, headers=HEADERS).status] += 1
        return statuses

    begun_ns, cpu_begun_ns = clock_ns(), cpu_clock_ns()
    with (
        urllib3.HTTPConnectionPool(url.host, url.port, maxsize=THREADS) as pool,
        ThreadPoolExecutor(THREADS) as threads,
    ):
        statuses = sum(threads.map(post, [pool] * THREADS), Counter[int]())
    elapsed_ns = clock_ns() - begun_ns
    right = statuses.pop(202, 0)
    wrong = Counter({f"status {status} for a request of urllib3": times for status, times in statuses.items()})
    cpu_share = (cpu_clock_ns() - cpu_begun_ns) / elapsed_ns
    return Measurement(right=right, wrong=wrong, elapsed_s=elapsed_ns / 1e9, cpu_share=cpu_share)


async def _switch(server: Server, action: str) -> None:
    """Pause or resume processing. Raises CommandError unless the response is a 200."""
    response = await send_once(server.address, server.address.post(f"/processing/{action}", b""))
    if response.status != 200:
        raise CommandError(f"POST /processing/{action}: status {response.status}")


def _cpu_s(server: Server) -> float:
    return ProcessStatus.read(server.pid).cpu_s
