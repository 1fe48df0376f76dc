"""Trials that compare two servers, two loads of our server, or its processing with its intake. Runs on the event loop.

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
from load.bench.measurement import CLIENTS, Measurement
from load.bench.size_trials import store_pending
from load.bench.trial import P99, RATE, ROUND_TIME, Row, Server, Trial, Value
from load.cli.errors import CommandError
from load.http.connection import send_once
from load.readback.metrics import Metrics, count_received
from load.system.machine import BUSY_SHARE, ProcessStatus

EMPTY_WITHIN_S = 1.0
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


async def change(trial: Trial) -> list[Row]:
    row = Row(name=f"durable POST /order, 64 clients, against {trial.other.name}", at_least=0.95)
    return await trial.compare(workloads.post_orders, (row, RATE), value=Value.SPEED)


async def intake(trial: Trial) -> list[Row]:
    """Measure how fast POST /order is accepted, how fast the orders are completed, and how long the backlog lasts."""
    accepting = Row(name="durable POST /order, 64 clients, against bare Tornado", at_least=3.0, aim=4.5)
    completing = Row(name="of those, completed by 1 s after the load's end", at_least=1.00)
    emptying = Row(name="until the backlog is empty after the load's end", unit=" s", at_most=EMPTY_WITHIN_S)
    with closing(trial.backlog(trial.ours.address)) as backlog:
        for number in range(1, trial.runs + 1):
            bare = await wrk.post_orders(trial, trial.other)
            before = await backlog.poll()
            ours = await wrk.post_orders(trial, trial.ours)
            ended_ns = trial.meter.clock_ns()
            at_end = await backlog.poll()
            if at_end.waiting:
                await trial.wait_until_processed(trial.ours.address)
            empty_s = (trial.meter.clock_ns() - ended_ns) / 1e9
            finally_done = await backlog.poll()
            in_time = finally_done if empty_s <= EMPTY_WITHIN_S else at_end
            if (left := ours.right - (finally_done.completed_orders - before.completed_orders)) > 0:
                completing.wrong["an accepted order that is not Completed though none is waiting"] += left
            trial.check(accepting, bare, ours)
            trial.add_run(accepting, number, RATE, {"bare": bare, "ours": ours}, value=Value.SPEED)
            completed = (at_end.completed_orders - before.completed_orders) / ours.elapsed_s
            rates = {"accepted_per_second": ours.per_second, "completed_per_second": completed}
            share = (in_time.completed_orders - before.completed_orders) / max(1, ours.right)
            completing.runs.append({**rates, "value": share})
            emptying.runs.append({"waiting_at_end": at_end.waiting, "value": empty_s})
            trial.print_line(
                f"        accepted {ours.per_second:,.0f}/s, completed {completed:,.0f}/s during the load;"
                f" {at_end.waiting} waiting at its end, backlog empty {empty_s:.3f} s after it"
            )
    return [accepting, completing, emptying]


async def guarded(trial: Trial) -> list[Row]:
    name = "durable POST /order, 64 clients, with --api-keys, --rate-limit and --access-log, against bare Tornado"
    row = Row(name=name, at_least=2.2, aim=3.5)
    return await trial.compare(wrk.post_orders, (row, RATE), value=Value.SPEED)


async def reading(trial: Trial) -> list[Row]:
    row = Row(name="GET /order/{id}, 64 clients, against bare Tornado", at_least=6.0, aim=9.0)
    trial = await workloads.store_orders(trial, row)
    return await trial.compare(wrk.get_orders, (row, RATE), value=Value.SPEED)


async def crowd(trial: Trial) -> list[Row]:
    row = Row(name=f"{workloads.CROWD}: time against bare Tornado", at_most=0.8, aim=0.5)
    return await trial.compare(workloads.post_at_once, (row, ROUND_TIME), value=Value.TIME)


async def steady(trial: Trial) -> list[Row]:
    # A latency counts from when a request is due, so it includes the client's own delay.
    row = Row(name=workloads.STEADY, unit=" ms", at_most=10.0, aim=5.0)
    return await trial.compare(workloads.post_at_rate, (row, P99), value=Value.SECOND)


async def bulk(trial: Trial) -> list[Row]:
    """Compare POST /orders with POST /order on our server. Each measurement begins when all orders are processed."""
    row = Row(name="POST /orders, 1,000 a request, 4 clients: orders/s against one by one, 64 clients")
    for number in range(1, trial.runs + 1):
        single = await workloads.settled(workloads.post_encoded_orders)(trial, trial.ours)
        arrays = await workloads.settled(workloads.post_arrays)(trial, trial.ours)
        trial.check(row, single, arrays)
        trial.add_run(row, number, RATE, {"one_by_one": single, "bulk": arrays}, value=Value.SPEED)
    return [row]


async def generator(trial: Trial) -> list[Row]:
    """Compare our load generator with wrk, and its rate to the receiver of webhooks with its rate to bare Tornado.

    Bare Tornado is slower than both clients, and the receiver is faster than any client. A run is valid even if a
    client uses a whole core, because the trial measures the clients.
    """
    at_bare = Row(name="load generator's rate to bare Tornado, 64 clients, against wrk's", at_least=0.50)
    name = "load generator's rate to a fixed-response server, against its rate to bare Tornado"
    sending = Row(name=name, at_least=2.00)
    script = wrk.posting(trial.other.address, first_id=1, counts_statuses=True)
    for number in range(1, trial.runs + 1):
        by_wrk = await wrk.measure_wrk(trial.other.address, script, clients=CLIENTS, seconds=trial.seconds)
        bare = await workloads.post_orders(trial, trial.other)
        fixed = await workloads.post_orders(trial, trial.ours)
        at_bare.wrong.update(by_wrk.wrong + bare.wrong)
        sending.wrong.update(bare.wrong + fixed.wrong)
        trial.add_run(at_bare, number, RATE, {"wrk": by_wrk, "ours": bare}, value=Value.SPEED)
        trial.add_run(sending, number, RATE, {"to_bare": bare, "to_fixed": fixed}, value=Value.SPEED)
    return [at_bare, sending]


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
