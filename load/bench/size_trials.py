"""Owns the trials of what a server that has to do much takes: to start, and of memory; on the event loop's thread.

A trial starts its servers itself. Nothing else runs on the loop, so that starting one may hold it up.
"""

import asyncio
from itertools import count

from load.bench.requests import posts
from load.bench.row import Row
from load.bench.stored_sides import NotStored
from load.bench.trial import Launches, cost_and_faults
from load.fill.feeder import ARRAY_SIZE, OrderFeeder, count_orders
from load.fill.fill_job import HOLDING
from load.http.address import Address, reach
from load.http.connection import Connection, NoResponse, send_request
from load.orders.responses import fault_of_post
from load.system.process_status import PROC, ProcessStatus, has_status

READY_S = 30.0
START_S = 2.0
PENDING_AT_START = 100_000
PENDING_IN_MEMORY = 1_000_000
# More than are Pending: some of them are held as Processing, and others come on top.
MAX_BACKLOG = ("--max-backlog", "2000000")
MEMORY_MIB, MEMORY_AIM_MIB = 150.0, 100.0
MEBIBYTE = 1 << 20
LOOK_S = 0.005


async def start(launches: Launches) -> list[Row]:
    """Start on a file with many orders, of which many are Pending; these are put there anew before each run."""
    with launches.serve(*HOLDING) as server:
        stored = await count_orders(await reach(server.url), clock_ns=launches.clock_ns)
    name = f"from exec to the first 200 of /readyz with {stored:,} stored orders and {PENDING_AT_START:,} Pending"
    row = Row(name=name, unit=" s", at_most=START_S)
    for number in range(1, launches.runs + 1):
        with launches.serve(*HOLDING) as server:
            address = await reach(server.url)
            first_id = stored + (number - 1) * PENDING_AT_START + 1
            await _leave_pending(launches, address, first_id=first_id, count=PENDING_AT_START)
        begun_ns = launches.clock_ns()
        with launches.serve() as server:
            listening_s = (launches.clock_ns() - begun_ns) / 1e9
            address = await reach(server.url)
            await _await_ready(launches, address)
            ready_s = (launches.clock_ns() - begun_ns) / 1e9
            await launches.settle(address)
            processed_s = (launches.clock_ns() - begun_ns) / 1e9
        row.runs.append({"listening_s": listening_s, "processed_s": processed_s, "value": ready_s})
        launches.tell(
            f"run {number}: says where it listens after {listening_s:.3f} s, ready after {ready_s:.3f} s,"
            f" {PENDING_AT_START:,} Pending orders processed after {processed_s:.3f} s"
        )
    return [row]


async def memory(launches: Launches) -> list[Row]:
    """Have a server whose orders stay Pending take very many, then some more one by one; once, however many runs."""
    row = Row(name=f"largest resident memory of the server with {PENDING_IN_MEMORY:,} Pending orders", unit=" MiB")
    row.at_most, row.aim = MEMORY_MIB, MEMORY_AIM_MIB
    if not has_status():
        launches.tell("this system has no /proc that says how much memory a process has: left out")
        return []
    orders = PENDING_IN_MEMORY + ARRAY_SIZE
    with launches.serve(*HOLDING, *MAX_BACKLOG) as server:
        address = await reach(server.url)
        first_mib, _ = _resident_mib(server.pid)
        await _leave_pending(launches, address, first_id=1, count=orders)
        resident_mib, most_by_arrays_mib = _resident_mib(server.pid)
        pace = await launches.pace(
            address, posts(address, count(orders + 1)), status=202, seconds=launches.seconds, fault=fault_of_post
        )
        _, most_mib = _resident_mib(server.pid)
    row.wrong.update(pace.wrong)
    row.runs.append(
        {
            "at_first_mib": first_mib,
            "resident_mib": resident_mib,
            "most_by_arrays_mib": most_by_arrays_mib,
            "value": most_mib,
        }
    )
    launches.tell(
        f"at first {first_mib:.1f} MiB; with {orders:,} orders by arrays {resident_mib:.1f} MiB, at most"
        f" {most_by_arrays_mib:.1f} MiB; after {pace.right:,} more one by one at most {most_mib:.1f} MiB"
        f" {cost_and_faults(pace)}"
    )
    return [row]


async def _leave_pending(launches: Launches, address: Address, *, first_id: int, count: int) -> None:
    """Have a server that processes nothing take orders; NotStored where fewer than so many are Pending then."""
    await OrderFeeder(address, first_id=first_id, count=count, clock_ns=launches.clock_ns).send()
    backlog = launches.backlog(address)
    try:
        waiting = (await backlog.look()).waiting
    finally:
        backlog.close()
    if waiting < count:
        raise NotStored(f"of {count:,} orders no more than {waiting:,} are Pending")


async def _await_ready(launches: Launches, address: Address) -> None:
    """Return at the first 200 of /readyz; NoResponse where none comes in time."""
    connection, request = Connection(address), address.get("/readyz")
    deadline_ns = launches.clock_ns() + int(READY_S * 1e9)
    try:
        while (left_ns := deadline_ns - launches.clock_ns()) > 0:
            if (await send_request(connection, request, limit_s=left_ns / 1e9)).status == 200:
                return
            # The server starts on the processors that this would keep busy.
            await asyncio.sleep(LOOK_S)
    finally:
        connection.close()
    raise NoResponse(f"GET /readyz: no 200 within {READY_S:g} s")


def _resident_mib(pid: int) -> tuple[float, float]:
    """Give what a process has in memory now, and the most that it had."""
    status = ProcessStatus.read(PROC / str(pid))
    return status.memory_bytes / MEBIBYTE, status.peak_bytes / MEBIBYTE
