"""Owns the trials that compare ours with itself: many orders a request, readers, slow clients; on the loop's thread."""

from functools import partial
from itertools import count, islice

from load.bench.bystanders import READERS, SLOW_CLIENTS, Bystanders, Report
from load.bench.pace import Pace
from load.bench.requests import bulk_posts, gets, posts
from load.bench.row import Row
from load.bench.trial import Trial, cost_and_faults
from load.bench.trials import STORED_ORDERS, store_orders
from load.orders.responses import fault_of_bulk, fault_of_post
from load.system.machine import BUSY_SHARE

BULK_SIZE = 1000
BULK_CLIENTS = 4
# Half as many orders as may be Pending: a turn ends with them where it would go on.
BULK_REQUESTS = 500
SINGLES_PER_SECOND = 20_000
READING_CLIENTS = 100
# Two events of over 100 bytes each: that it is begun, and that it is Completed.
LEAST_BYTES_AN_ORDER = 200
ALL_BUT_FRAMES = 0.98
SLOW = 500
# As long as a client may at least take for a request's headers.
SLOW_FOR_S = 10.0
HONEST_PER_SECOND = 500
# Timers are exact to a millisecond.
LATE_MS = 2.0


async def bulk(trial: Trial) -> list[Row]:
    """Many orders a request against one by one on the same server, each turn from an empty backlog."""
    row = Row(name="POST /orders, 1,000 a request, 4 clients: orders/s against one by one, 64 clients", at_least=20.0)
    row.aim = 30.0
    ids = count(1)
    for number in range(1, trial.runs + 1):
        # Encoded beforehand, so that neither side waits for the client to do it.
        single_posts = list(islice(posts(trial.ours, ids), int(SINGLES_PER_SECOND * trial.seconds)))
        singles = await trial.pace(
            trial.ours, iter(single_posts), status=202, seconds=trial.seconds, fault=fault_of_post
        )
        singles_empty_s = await trial.settle(trial.ours)
        many_posts = list(islice(bulk_posts(trial.ours, ids, size=BULK_SIZE), BULK_REQUESTS))
        many = await trial.pace(
            trial.ours,
            iter(many_posts),
            clients=BULK_CLIENTS,
            status=202,
            seconds=trial.seconds,
            fault=partial(fault_of_bulk, size=BULK_SIZE),
        )
        many_empty_s = await trial.settle(trial.ours)
        trial.judge(row, singles, many)
        many_per_second = many.per_second * BULK_SIZE
        ratio = many_per_second / singles.per_second if singles.right else 0.0
        row.runs.append(
            {
                "one_by_one_per_second": singles.per_second,
                "one_by_one_empty_after_s": singles_empty_s,
                "bulk_per_second": many_per_second,
                "bulk_empty_after_s": many_empty_s,
                "client_cpu_share": max(singles.cpu_share, many.cpu_share),
                "value": ratio,
            }
        )
        trial.tell(
            f"run {number}: one by one {singles.per_second:,.0f} orders/s, bulk {many_per_second:,.0f} orders/s,"
            f" ratio {ratio:.1f} {cost_and_faults(singles, many)}\n"
            f"        backlog empty {singles_empty_s:.3f} s after {singles.right:,} orders one by one,"
            f" {many_empty_s:.3f} s after {many.right * BULK_SIZE:,} in bulk"
        )
    return [row]


async def readers(trial: Trial) -> list[Row]:
    """POST /order while 100 connections read every event, against another process of ours that nobody reads from.

    Another process, since one that had a reader keeps its last events for good.
    """
    row = Row(name="durable POST /order, 64 clients, with 100 readers of all events, against none", at_least=0.90)
    requests = [posts(side, count(1)) for side in (trial.other, trial.ours)]
    for number in range(1, trial.runs + 1):
        without = await trial.pace(trial.other, requests[0], status=202, seconds=trial.seconds, fault=fault_of_post)
        await trial.settle(trial.other)
        async with Bystanders(READERS, url=trial.ours.url, count=READING_CLIENTS) as bystanders:
            among = await trial.pace(trial.ours, requests[1], status=202, seconds=trial.seconds, fault=fault_of_post)
            # They read the last events, too, before they leave.
            await trial.settle(trial.ours)
            report = await bystanders.leave()
        trial.record(row, number, without, among)
        row.runs[-1].update(_judge_readers(row, report, among))
        readers_share = row.runs[-1]["readers_cpu_share"]
        trial.tell(
            f"        each reader got {report.least_bytes:,} to {report.most_bytes:,} bytes of"
            f" {among.right:,} orders' events; streams that ended: {report.ended} (readers' CPU {readers_share:.0%})"
        )
    return [row]


async def slow_clients(trial: Trial) -> list[Row]:
    """GET /order/{id} at a steady rate while 500 clients send a header line a second, against without them."""
    row = Row(name="p99 of GET /order/{id} at 500/s, open loop, with 500 slow clients, against none", at_most=1.5)
    await store_orders(trial, row)
    measure = partial(trial.latency, trial.ours, per_second=HONEST_PER_SECOND, status=200)
    for number in range(1, trial.runs + 1):
        alone = await measure(gets(trial.ours, stored=STORED_ORDERS, chance=trial.seeded(number)))
        async with Bystanders(SLOW_CLIENTS, url=trial.ours.url, count=SLOW) as bystanders:
            among = await measure(gets(trial.ours, stored=STORED_ORDERS, chance=trial.seeded(number)))
            report = await bystanders.leave()
        trial.judge(row, alone, among)
        if report.ended * SLOW_FOR_S > SLOW * trial.seconds:
            row.void["the server cut the slow clients off so soon that they were not slow"] += 1
        if alone.late_p99_ms() > LATE_MS:
            # It is in both figures, and the more of it there is, the less their ratio says.
            row.void[f"the client itself was more than {LATE_MS:g} ms late with 1 % of its requests"] += 1
        ratio = among.p99_ms() / alone.p99_ms() if alone.right else float("inf")
        row.runs.append(
            {
                "alone_p99_ms": alone.p99_ms(),
                "among_slow_p99_ms": among.p99_ms(),
                "slow_clients_cut_off": report.ended,
                "client_late_p99_ms": max(alone.late_p99_ms(), among.late_p99_ms()),
                "client_cpu_share": max(alone.cpu_share, among.cpu_share),
                "value": ratio,
            }
        )
        trial.tell(
            f"run {number}: p99 alone {alone.p99_ms():.2f} ms, among slow clients {among.p99_ms():.2f} ms,"
            f" ratio {ratio:.2f}; the client itself late by {alone.late_p99_ms():.2f} and {among.late_p99_ms():.2f} ms"
            f" {cost_and_faults(alone, among)}"
        )
    return [row]


def _judge_readers(row: Row, report: Report, among: Pace) -> dict[str, float]:
    """Count in a row what was wrong with the readers of a run, and give their figures."""
    if report.ended:
        row.wrong["an event stream that ended"] += report.ended
    # All of them get the same, but for what frames it.
    if report.least_bytes < max(LEAST_BYTES_AN_ORDER * among.right, ALL_BUT_FRAMES * report.most_bytes):
        row.wrong["a run in which a reader did not get the events of all orders"] += 1
    share = report.cpu_s / among.elapsed_s
    if share > BUSY_SHARE:
        row.void["the readers had no time left, the server may be faster"] += 1
    return {"readers_cpu_share": share, "least_bytes": report.least_bytes, "most_bytes": report.most_bytes}
