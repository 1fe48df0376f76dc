"""Owns the trials that compare another server with ours, in turns; each gives its rows, on the loop's thread."""

from contextlib import closing
from itertools import count, islice

from load.backlog import BacklogState
from load.bench.requests import gets, posts
from load.bench.row import Row
from load.bench.trial import BacklogStuck, Trial, cost_and_faults
from load.orders.responses import fault_of_post

CROWD = 1000
STORED_ORDERS = 10_000
EMPTY_WITHIN_S = 1.0
STEADY_PER_SECOND = 500
STEADY_P99_MS, STEADY_P99_AIM_MS = 10.0, 5.0


async def change(trial: Trial) -> list[Row]:
    """POST /order in closed loops against another version of the server, with processing running on both."""
    row = Row(name=f"durable POST /order, 64 clients, against {trial.other_name}", at_least=0.95)
    requests = [posts(side, count(1)) for side in (trial.other, trial.ours)]
    for number in range(1, trial.runs + 1):
        sides = [
            await trial.pace(side, side_posts, status=202, seconds=trial.seconds, fault=fault_of_post)
            for side, side_posts in zip((trial.other, trial.ours), requests, strict=True)
        ]
        trial.record(row, number, *sides)
    return [row]


async def intake(trial: Trial) -> list[Row]:
    """POST /order in closed loops, and what becomes of the accepted orders meanwhile: three rows from one load."""
    accepting = Row(name="durable POST /order, 64 clients, against bare Tornado", at_least=0.80, aim=1.00)
    completing = Row(name="of those, completed by 1 s after the load's end", at_least=1.00)
    emptying = Row(name="until the backlog is empty after the load's end", unit=" s", at_most=EMPTY_WITHIN_S)
    requests = posts(trial.ours, count(1))
    with closing(trial.backlog(trial.ours)) as backlog:
        for number in range(1, trial.runs + 1):
            bare = await trial.pace(trial.other, posts(trial.other, count(1)), status=202, seconds=trial.seconds)
            before = await backlog.look()
            ours = await trial.pace(trial.ours, requests, status=202, seconds=trial.seconds, fault=fault_of_post)
            ended_ns = trial.clock_ns()
            at_end = await backlog.look()
            if at_end.waiting and await backlog.wait(before=0) is not BacklogState.PROCESSED:
                raise BacklogStuck(f"{at_end.waiting} orders were not processed after the load")
            empty_s = (trial.clock_ns() - ended_ns) / 1e9
            in_the_end = await backlog.look()
            in_time = in_the_end if empty_s <= EMPTY_WITHIN_S else at_end
            if (left := ours.right - (in_the_end.completed - before.completed)) > 0:
                completing.wrong["an accepted order that is not Completed though nothing waits"] += left
            trial.record(accepting, number, bare, ours)
            completing.runs.append(
                {
                    "accepted_per_second": ours.per_second,
                    "completed_per_second": (at_end.completed - before.completed) / ours.elapsed_s,
                    "value": (in_time.completed - before.completed) / max(1, ours.right),
                }
            )
            emptying.runs.append({"waiting_at_end": at_end.waiting, "value": empty_s})
            completed = completing.runs[-1]["completed_per_second"]
            trial.tell(
                f"        accepted {ours.per_second:,.0f}/s, completed {completed:,.0f}/s during the load;"
                f" {at_end.waiting} waiting at its end, backlog empty {empty_s:.3f} s after it"
            )
    return [accepting, completing, emptying]


async def reading(trial: Trial) -> list[Row]:
    """GET /order/{id} of stored orders in closed loops."""
    row = Row(name="GET /order/{id}, 64 clients, against bare Tornado", at_least=0.80, aim=1.00)
    await store_orders(trial, row)
    for number in range(1, trial.runs + 1):
        sides = [
            await trial.pace(
                side,
                gets(side, stored=STORED_ORDERS, chance=trial.seeded(number)),
                status=200,
                seconds=trial.seconds,
            )
            for side in (trial.other, trial.ours)
        ]
        trial.record(row, number, *sides)
    return [row]


async def crowd(trial: Trial) -> list[Row]:
    """1,000 clients connect at once and send an order each, until the last has its answer."""
    row = Row(name="1,000 clients connecting at once, one order each, until all have their 202", unit=" s")
    row.at_most, row.aim = 0.5, 0.3
    requests = posts(trial.ours, count(1))
    for number in range(1, trial.runs + 1):
        bare = await trial.pace(trial.other, islice(posts(trial.other, count(1)), CROWD), clients=CROWD, status=202)
        ours = await trial.pace(trial.ours, islice(requests, CROWD), clients=CROWD, status=202, fault=fault_of_post)
        trial.judge(row, bare, ours)
        row.runs.append(
            {
                "bare_s": bare.elapsed_s,
                "ours_s": ours.elapsed_s,
                "client_cpu_share": max(bare.cpu_share, ours.cpu_share),
                "value": ours.elapsed_s,
            }
        )
        trial.tell(
            f"run {number}: bare {bare.elapsed_s:.3f} s, ours {ours.elapsed_s:.3f} s {cost_and_faults(bare, ours)}"
        )
    return [row]


async def steady(trial: Trial) -> list[Row]:
    """POST /order at 500 a second, in an open loop. How late the client itself is is a part of each figure."""
    row = Row(name="p99 of POST /order at 500 orders/s, open loop", unit=" ms", at_most=STEADY_P99_MS)
    row.aim = STEADY_P99_AIM_MS
    requests = posts(trial.ours, count(1))
    for number in range(1, trial.runs + 1):
        bare = await trial.latency(trial.other, posts(trial.other, count(1)), per_second=STEADY_PER_SECOND, status=202)
        ours = await trial.latency(trial.ours, requests, per_second=STEADY_PER_SECOND, status=202, fault=fault_of_post)
        trial.judge(row, bare, ours)
        row.runs.append(
            {
                "bare_p99_ms": bare.p99_ms(),
                "client_late_p99_ms": max(bare.late_p99_ms(), ours.late_p99_ms()),
                "client_cpu_share": max(bare.cpu_share, ours.cpu_share),
                "value": ours.p99_ms(),
            }
        )
        trial.tell(
            f"run {number}: p99 bare {bare.p99_ms():.2f} ms, ours {ours.p99_ms():.2f} ms; the client itself late by"
            f" {bare.late_p99_ms():.2f} and {ours.late_p99_ms():.2f} ms {cost_and_faults(bare, ours)}"
        )
    return [row]


async def store_orders(trial: Trial, row: Row) -> None:
    """Have ours store the orders 1 to STORED_ORDERS and process them."""
    requests = islice(posts(trial.ours, count(1)), STORED_ORDERS)
    row.wrong.update((await trial.pace(trial.ours, requests, status=202, fault=fault_of_post)).wrong)
    await trial.settle(trial.ours)
