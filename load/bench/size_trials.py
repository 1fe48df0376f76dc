"""Owns the trials of what a server that has to do much takes: to start, and of memory; on the event loop's thread.

A trial starts its servers itself. Nothing else runs on the loop, so that starting one may hold it up.
"""

from itertools import count
from pathlib import Path

from load.address import Address, reach
from load.bench.requests import fault_of_post, posts
from load.bench.row import Row
from load.bench.stored_sides import NotStored
from load.bench.trial import Launches, cost_and_faults
from load.connection import Connection, NoAnswer
from load.fill.feeding import ARRAY_SIZE, Feeding, count_orders
from load.fill.filling import HOLDING

REACH_S = 5.0
READY_S = 30.0
START_S = 2.0
PENDING_AT_START = 100_000
PENDING_IN_MEMORY = 1_000_000
# More than are Pending: some of them are held as Processing, and others come on top.
MAX_BACKLOG = ("--max-backlog", "2000000")
MEMORY_MIB, MEMORY_AIM_MIB = 150.0, 100.0
KIBIBYTES = 1024
STATUS = Path("/proc/self/status")


async def start(launches: Launches) -> list[Row]:
    """Start on a file with many orders, of which many are Pending; these are put there anew before each run."""
    with launches.serve(*HOLDING) as server:
        stored = await count_orders(await reach(server.url, timeout_s=REACH_S), clock_ns=launches.clock_ns)
    name = f"from exec to the first 200 of /readyz with {stored:,} stored orders and {PENDING_AT_START:,} Pending"
    row = Row(name=name, unit=" s", at_most=START_S)
    for number in range(1, launches.runs + 1):
        with launches.serve(*HOLDING) as server:
            address = await reach(server.url, timeout_s=REACH_S)
            first_id = stored + (number - 1) * PENDING_AT_START + 1
            await _leave_pending(launches, address, first_id=first_id, count=PENDING_AT_START)
        begun_ns = launches.clock_ns()
        with launches.serve() as server:
            listening_s = (launches.clock_ns() - begun_ns) / 1e9
            address = await reach(server.url, timeout_s=REACH_S)
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
    if not _has_status():
        launches.tell("this system has no /proc that says how much memory a process has: left out")
        return []
    orders = PENDING_IN_MEMORY + ARRAY_SIZE
    with launches.serve(*HOLDING, *MAX_BACKLOG) as server:
        address = await reach(server.url, timeout_s=REACH_S)
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
    await Feeding(address, first_id=first_id, count=count, clock_ns=launches.clock_ns).send()
    backlog = launches.backlog(address)
    try:
        waiting = (await backlog.look()).waiting
    finally:
        backlog.close()
    if waiting < count:
        raise NotStored(f"of {count:,} orders no more than {waiting:,} are Pending")


async def _await_ready(launches: Launches, address: Address) -> None:
    """Return at the first 200 of /readyz; NoAnswer where none comes in time."""
    ask, request = Connection(address), address.get("/readyz")
    deadline_ns = launches.clock_ns() + int(READY_S * 1e9)
    try:
        while launches.clock_ns() < deadline_ns:
            if (await ask.exchange(request)).status == 200:
                return
    finally:
        ask.close()
    raise NoAnswer(f"GET /readyz: no 200 within {READY_S:g} s")


def _has_status() -> bool:
    return STATUS.exists()


def _resident_mib(pid: int) -> tuple[float, float]:
    """Give what a process has in memory now, and the most that it had."""
    status = dict(line.split(":", 1) for line in (STATUS.parent.parent / str(pid) / "status").read_text().splitlines())
    now, most = (int(status[name].split()[0]) / KIBIBYTES for name in ("VmRSS", "VmHWM"))
    return now, most
