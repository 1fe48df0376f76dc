"""Owns the trials that compare a server that has many orders with one that has few, in turns; on the loop's thread.

Both are ours, and the value is how many times as long it takes with many.
"""

from functools import partial
from itertools import count, islice
from statistics import median

from load.bench.open_loop import Latency
from load.bench.pace import Pace
from load.bench.requests import bulk_posts, gets, posts
from load.bench.row import Row
from load.bench.stored_sides import TURNS, Side, find_sides
from load.bench.surface_trials import BULK_CLIENTS, BULK_REQUESTS, BULK_SIZE
from load.bench.trial import Trial, cost_and_faults
from load.bench.trials import CROWD, STEADY_PER_SECOND
from load.bench.turns import Processed, Times
from load.http.address import Address
from load.http.connection import Connection, send_request
from load.orders.responses import fault_of_bulk, fault_of_post

METRICS_MS = 2.0
STEADY_TURNS = 2
METRICS_GETS = 50
"""In a turn."""


async def stored_intake(trial: Trial) -> list[Row]:
    """POST /order in closed loops, and until all of those orders are processed: two rows from one load."""
    sides = await find_sides(trial)
    accepting = sides.row("durable POST /order, 64 clients")
    completing = sides.row("the same until each of them is Completed")

    async def measure(side: Side) -> Processed:
        requests, seconds = posts(side.address, side.ids), trial.seconds / TURNS
        pace = await trial.pace(side.address, requests, status=202, seconds=seconds, fault=fault_of_post)
        return Processed(pace, await trial.settle(side.address))

    for number in range(1, trial.runs + 1):
        small, big = await sides.in_turns(number, measure)
        trial.judge(accepting, small.pace, big.pace)
        remark = cost_and_faults(small.pace, big.pace)
        _compare(trial, accepting, number, small.pace.per_second, big.pace.per_second, remark)
        _compare(trial, completing, number, small.per_second, big.per_second, "until all were Completed")
    return [accepting, completing]


async def stored_reading(trial: Trial) -> list[Row]:
    """GET /order/{id} of all the stored orders, at random, in closed loops."""
    sides = await find_sides(trial)
    row = sides.row("GET /order/{id}, 64 clients, any order")
    seeds = count(1)

    async def measure(side: Side) -> Pace:
        requests = gets(side.address, stored=side.stored, chance=trial.seeded(next(seeds)))
        return await trial.pace(side.address, requests, status=200, seconds=trial.seconds / TURNS)

    for number in range(1, trial.runs + 1):
        small, big = await sides.in_turns(number, measure)
        trial.judge(row, small, big)
        _compare(trial, row, number, small.per_second, big.per_second, cost_and_faults(small, big))
    return [row]


async def stored_bulk(trial: Trial) -> list[Row]:
    """POST /orders in closed loops, each turn from an empty backlog."""
    sides = await find_sides(trial)
    row = sides.row("POST /orders, 1,000 a request, 4 clients")
    fault = partial(fault_of_bulk, size=BULK_SIZE)

    async def measure(side: Side) -> Processed:
        # Encoded beforehand, so that the server does not wait for the client to do it.
        requests = list(islice(bulk_posts(side.address, side.ids, size=BULK_SIZE), BULK_REQUESTS // TURNS))
        pace = await trial.pace(
            side.address, iter(requests), clients=BULK_CLIENTS, status=202, seconds=trial.seconds / TURNS, fault=fault
        )
        return Processed(pace, await trial.settle(side.address))

    for number in range(1, trial.runs + 1):
        small, big = await sides.in_turns(number, measure)
        trial.judge(row, small.pace, big.pace)
        small_rate, big_rate = (each.pace.per_second * BULK_SIZE for each in (small, big))
        _compare(trial, row, number, small_rate, big_rate, cost_and_faults(small.pace, big.pace))
        row.runs[-1] |= {"small_empty_after_s": small.empty_s, "big_empty_after_s": big.empty_s}
        trial.tell(f"        backlog empty {small.empty_s:.3f} s and {big.empty_s:.3f} s after it, in {TURNS} turns")
    return [row]


async def stored_crowd(trial: Trial) -> list[Row]:
    """1,000 clients connect at once and send an order each, until the last has its answer."""
    sides = await find_sides(trial)
    row = sides.row("1,000 clients connecting at once, one order each, until all have their 202")

    async def measure(side: Side) -> Pace:
        requests = islice(posts(side.address, side.ids), CROWD)
        pace = await trial.pace(side.address, requests, clients=CROWD, status=202, fault=fault_of_post)
        await trial.settle(side.address)
        return pace

    for number in range(1, trial.runs + 1):
        small, big = await sides.in_turns(number, measure)
        trial.judge(row, small, big)
        small_s, big_s = small.elapsed_s / TURNS, big.elapsed_s / TURNS
        row.runs.append({"small_s": small_s, "big_s": big_s, "value": big_s / small_s})
        trial.tell(
            f"run {number}: small {small_s:.3f} s, big {big_s:.3f} s, times as long {big_s / small_s:.2f}"
            f" {cost_and_faults(small, big)}"
        )
    return [row]


async def stored_steady(trial: Trial) -> list[Row]:
    """POST /order at 500 a second, in an open loop. How late the client itself is is a part of each figure."""
    sides = await find_sides(trial)
    row = sides.row("p99 of POST /order at 500 orders/s, open loop")

    async def measure(side: Side) -> Latency:
        requests = posts(side.address, side.ids)
        return await trial.latency(
            side.address, requests, per_second=STEADY_PER_SECOND, status=202, fault=fault_of_post
        )

    for number in range(1, trial.runs + 1):
        # Each has a lead-in of its own, and a p99 wants many answers.
        small, big = await sides.in_turns(number, measure, turns=STEADY_TURNS)
        trial.judge(row, small, big)
        small_ms, big_ms = small.p99_ms(), big.p99_ms()
        ratio = big_ms / small_ms if small.right else float("inf")
        late_ms = max(small.late_p99_ms(), big.late_p99_ms())
        row.runs.append({"small_p99_ms": small_ms, "big_p99_ms": big_ms, "client_late_p99_ms": late_ms, "value": ratio})
        trial.tell(
            f"run {number}: p99 small {small_ms:.2f} ms, big {big_ms:.2f} ms, times as long {ratio:.2f}; the client"
            f" itself late by {late_ms:.2f} ms at most {cost_and_faults(small, big)}"
        )
    return [row]


async def stored_metrics(trial: Trial) -> list[Row]:
    """GET /metrics one after another on one connection, while nothing else happens."""
    sides = await find_sides(trial)
    row = Row(name=f"GET /metrics with {sides.big.stored:,} stored orders, one after another", unit=" ms")
    row.at_most = METRICS_MS

    async def measure(side: Side) -> Times:
        return Times(await _time_metrics(trial, row, side.address))

    for number in range(1, trial.runs + 1):
        small, big = (turns.ms for turns in await sides.in_turns(number, measure))
        row.runs.append(
            {"small_median_ms": median(small), "small_max_ms": max(small), "big_max_ms": max(big), "value": median(big)}
        )
        trial.tell(
            f"run {number}: of {len(big)} GETs small median {median(small):.2f} ms, max {max(small):.2f} ms;"
            f" big median {median(big):.2f} ms, max {max(big):.2f} ms"
        )
    return [row]


async def _time_metrics(trial: Trial, row: Row, address: Address) -> list[float]:
    """Give how long each took, in milliseconds, without the connecting."""
    request, connection, times_ms = address.get("/metrics"), Connection(address), []
    try:
        await send_request(connection, request)
        for _ in range(METRICS_GETS):
            begun_ns = trial.clock_ns()
            answer = await send_request(connection, request)
            times_ms.append((trial.clock_ns() - begun_ns) / 1e6)
            if answer.status != 200:
                row.wrong[f"status {answer.status}"] += 1
    finally:
        connection.close()
    return times_ms


def _compare(trial: Trial, row: Row, number: int, small: float, big: float, remark: str) -> None:
    """Add a run to a row whose value is how many times as long it takes, from orders a second."""
    ratio = small / big if big else float("inf")
    row.runs.append({"small_per_second": small, "big_per_second": big, "value": ratio})
    trial.tell(f"run {number}: small {small:,.0f}/s, big {big:,.0f}/s, times as long {ratio:.2f} {remark}")
