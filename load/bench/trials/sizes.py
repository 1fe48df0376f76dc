"""Runs trials of servers with many orders. Some also measure a server with few orders. Runs on the event loop."""

import asyncio
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import count

from load.bench import wrk
from load.bench.measurement import cpu_and_errors
from load.bench.trial import MEDIAN, P99, PROCESSED_RATE, RATE, ROUND_TIME, Figure, Load, Row, Server, Trial, Value
from load.bench.workloads import (
    CROWD,
    STEADY,
    get_metrics,
    post_arrays,
    post_at_once,
    post_at_rate,
    post_orders,
    settled,
)
from load.cli.errors import CommandError
from load.fill.command import ARRAY_SIZE, HOLDING, OrderFeeder
from load.http.address import Address, reach
from load.http.connection import Connection, NoResponse, send_request
from load.readback.metrics import read_metrics
from load.system.machine import ProcessStatus

ROUNDS = 6  # Rounds per run. An even number, so that each server is measured first in half of the rounds.
READY_S = 30.0
PENDING_AT_START = 100_000
PENDING_IN_MEMORY = 1_000_000
# More than PENDING_IN_MEMORY, because orders in processing and orders sent one by one count towards this limit, too.
MAX_BACKLOG = ("--max-backlog", "2000000")
POLL_S = 0.005


async def compare_sizes(trial: Trial, *, load: Load, figures: dict[str, Figure]) -> list[Row]:
    """Return a row for each figure: the time with many stored orders, divided by the time with few stored orders."""
    # Every round of an open loop has a warm-up, and a p99 needs many responses. So the rounds for a p99 are long.
    rounds, share = (2, 1.0) if P99 in figures.values() else (ROUNDS, 1 / ROUNDS)
    trial = replace(await find_stored(trial), seconds=trial.seconds * share)
    sizes = f"time with {trial.ours.stored:,} stored orders against {trial.other.stored:,}"
    rows = [(Row(name=f"{name}: {sizes}", at_most=1.25, aim=1.1), figure) for name, figure in figures.items()]
    return await trial.compare(load, *rows, value=Value.TIME, rounds=rounds)


stored_intake = partial(
    compare_sizes,
    load=settled(post_orders),
    figures={"durable POST /order, 64 clients": RATE, "the same until each of them is Completed": PROCESSED_RATE},
)
stored_reading = partial(compare_sizes, load=wrk.get_orders, figures={"GET /order/{id}, 64 clients, any order": RATE})
stored_crowd = partial(compare_sizes, load=settled(post_at_once), figures={CROWD: ROUND_TIME})
stored_steady = partial(compare_sizes, load=post_at_rate, figures={STEADY: P99})
stored_bulk = partial(
    compare_sizes, load=settled(post_arrays), figures={"POST /orders, 1,000 a request, 4 clients": RATE}
)


async def stored_metrics(trial: Trial) -> list[Row]:
    """Measure the latency of GET /metrics on one connection, while no other client sends requests."""
    trial = await find_stored(trial)
    name = f"GET /metrics with {trial.ours.stored:,} stored orders, one after another"
    row = Row(name=name, unit=" ms", at_most=2.0)
    return await trial.compare(get_metrics, (row, MEDIAN), value=Value.SECOND, rounds=ROUNDS)


async def start(trial: Trial) -> list[Row]:
    """Measure how long the server takes to start. Before each start, 100,000 orders are stored as Pending."""
    clock_ns = trial.meter.clock_ns
    # Starting a server blocks this event loop, on which nothing else runs.
    with trial.start_server(*HOLDING) as server:
        stored = (await read_metrics(await reach(server.url))).orders
    name = f"from exec to the first 200 of /readyz with {stored:,} stored orders and {PENDING_AT_START:,} Pending"
    row = Row(name=name, unit=" s", at_most=2.0)
    for number in range(1, trial.runs + 1):
        with trial.start_server(*HOLDING) as server:
            first_id = stored + (number - 1) * PENDING_AT_START + 1
            await store_pending(await reach(server.url), first_id=first_id, orders=PENDING_AT_START)
        begun_ns = clock_ns()
        with trial.start_server() as server:
            listening_s = (clock_ns() - begun_ns) / 1e9
            address = await reach(server.url)
            await _await_ready(address)
            ready_s = (clock_ns() - begun_ns) / 1e9
            await trial.wait_until_processed(address)
            processed_s = (clock_ns() - begun_ns) / 1e9
        row.runs.append({"listening_s": listening_s, "processed_s": processed_s, "value": ready_s})
        trial.print_line(
            f"run {number}: prints its address after {listening_s:.3f} s, ready after {ready_s:.3f} s,"
            f" {PENDING_AT_START:,} Pending orders processed after {processed_s:.3f} s"
        )
    return [row]


async def memory(trial: Trial, *, database: str = "") -> list[Row]:
    """Measure the highest memory of a server while 1,000,000 orders are Pending. Runs once, not `trial.runs` times."""
    name = f"largest resident memory of the server{database} with {PENDING_IN_MEMORY:,} Pending orders"
    row = Row(name=name, unit=" MiB", at_most=60.0, aim=50.0)
    orders = PENDING_IN_MEMORY + ARRAY_SIZE
    with trial.start_server(*HOLDING, *MAX_BACKLOG) as process:
        address = await reach(process.url)
        first_mib = ProcessStatus.read(process.pid).memory_mib
        await store_pending(address, first_id=1, orders=orders)
        stored = ProcessStatus.read(process.pid)
        server = Server("ours", address, ids=count(orders + 1), seeds=count(1))
        measured = await post_orders(trial, server)
        peak_mib = ProcessStatus.read(process.pid).peak_mib
    row.wrong.update(measured.wrong)
    first = {"at_first_mib": first_mib, "resident_mib": stored.memory_mib, "most_by_arrays_mib": stored.peak_mib}
    row.runs.append({**first, "value": peak_mib})
    trial.print_line(
        f"at first {first_mib:.1f} MiB; with {orders:,} orders by arrays {stored.memory_mib:.1f} MiB, at most"
        f" {stored.peak_mib:.1f} MiB; after {measured.right:,} more one by one at most {peak_mib:.1f} MiB"
        f" {cpu_and_errors(measured)}"
    )
    return [row]


async def find_stored(trial: Trial) -> Trial:
    """Wait until all orders are processed, and return the trial with `stored` and unused `ids` for each server.

    Raises CommandError if the ids of the stored orders are not 1, 2, 3 and so on.
    """
    servers = []
    for server in trial.servers:
        address = server.address
        await trial.wait_until_processed(address)
        stored = (await read_metrics(address)).orders
        with closing(Connection(address)) as connection:
            requests = (address.get(f"/order/{stored + more}") for more in (0, 1))
            last, next_one = [await send_request(connection, request) for request in requests]
        if (last.status, next_one.status) != (200, 404):
            raise CommandError(f"the server has {stored:,} orders, but not those with the ids from 1 on: use load.fill")
        servers.append(server._replace(stored=stored, ids=count(stored + 1)))
    small, big = servers
    trial.print_line(f"small has {small.stored:,} orders, big has {big.stored:,} (by /metrics; ids from 1 on)")
    return replace(trial, servers=servers)


async def store_pending(address: Address, *, first_id: int, orders: int) -> None:
    """Send orders to a server that processes none. Raises CommandError if not all are Pending afterwards."""
    await OrderFeeder(address, first_id=first_id, count=orders).send()
    waiting = (await read_metrics(address)).waiting
    if waiting < orders:
        raise CommandError(f"only {waiting:,} of {orders:,} orders are Pending")


async def _await_ready(address: Address) -> None:
    """Poll GET /readyz until its first 200. Raises NoResponse if no 200 comes within READY_S."""
    with closing(Connection(address)) as connection:
        try:
            async with asyncio.timeout(READY_S):
                # Polled, because a server does not report that it is ready.
                while (await send_request(connection, address.get("/readyz"))).status != 200:  # noqa: ASYNC110
                    # Without a pause, polling would take CPU time from the server.
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise NoResponse(f"GET /readyz: no 200 within {READY_S:g} s") from None
