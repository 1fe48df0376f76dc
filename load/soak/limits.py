"""Compares the last minute of a soak with minute one, and checks the server at the end. Runs on the event loop.

Minute one is the first minute after the warm-up. No order is kept in memory, but these values can grow:

- Memory, by 4 MiB: the dashboard's history (600 points of 300 bytes, and 50 KB per reader) and SQLite's caches (2 MiB
  for each of three connections). The event log, about 25 MiB, is full before the warm-up.
- Memory, by another 10 %, because the heap becomes fragmented. In total, a process of 80 MiB can grow by 12 MiB. At
  600 orders/s, this limit finds a leak of 40 bytes per order in ten minutes, and of 6 bytes in an hour.
- The file of the write-ahead log. SQLite runs a checkpoint after a commit that leaves over 16 MiB in it. One commit
  adds up to 2 MiB, and a reader can delay the checkpoint. So the limit is 16 MiB plus 12 MiB for some commits. After
  minute one, the file can grow by two commits.
- Sockets, up to one per client and ten of the server. At the end, the sockets of clients must be closed.
- Threads, because the pool creates each thread when it is first needed. The number of files must not grow.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from random import Random
from typing import Any

import msgspec

from load.backlog import Backlog
from load.http.address import Address
from load.http.connection import Connection, NoResponse, send_request
from load.http.connections import Timeouts
from load.orders.comparison import BadJson, decode_json
from load.orders.generated import SentOrders
from load.readback import OrderReader
from load.soak.measurements import Minute, Sample
from load.soak.sessions import CONNECTIONS

READ_BACK_ORDERS, READ_BACK_CONNECTIONS = 1_000, 8
PAGE_SIZE = 200
CLOSE_LIMIT_S, POLL_EVERY_S = 10.0, 0.05
MEMORY_SHARE, MEMORY_MIB = 0.10, 4.0
P99_FACTOR, P99_MS = 1.5, 10.0
WAL_MIB, WAL_GROWTH_MIB = 28.0, 4.0
SLOW_MS = 5.0  # Minutes in which the p99 of this program's delays or of syncs is above this limit are reported.
OWN_SOCKETS = 10  # The most sockets of the server that belong to no client: for listening, and of its event loop.
WORKERS = 8  # The server's --workers.


class FinalCheck(msgspec.Struct, rename={"unknown": "strange"}):
    """The numbers of orders at the end of a soak. `read_back` is a sentence about the orders that were read back.

    `counted` orders are in the listing. `unlisted` orders were acknowledged, but are not in the listing. `unknown`
    orders were never sent, or are listed twice. `miscounted` is the difference between the counts of /metrics and the
    listing. `mistaken` orders were lost, different, unprocessed or unreadable when they were read back. `incomplete`
    orders are not Completed. `sockets_left` is how many sockets of clients the server still has.
    """

    counted: int = 0
    unlisted: int = 0
    unknown: int = 0
    miscounted: int = 0
    mistaken: int = 0
    read_back: str = ""
    incomplete: int = 0
    sockets_left: int = 0


async def check_server(
    address: Address,
    *,
    ledger: SentOrders,
    take_sample: Callable[[], Sample],
    sockets_before: int,
    rng: Random,
    close_limit_s: float = CLOSE_LIMIT_S,
) -> FinalCheck:
    """Wait until all orders are processed. Then read 1,000 back, list all orders, and count the server's sockets.

    The server has `close_limit_s` seconds to close the sockets of its clients. Raises CommandError if a request fails.
    """
    found = FinalCheck()
    with closing(Backlog(address, timeouts=Timeouts(), clock_ns=time.perf_counter_ns)) as backlog:
        await backlog.wait(before=0)
        metrics = await backlog.poll()
    found.incomplete = metrics.orders - metrics.completed
    drawn = (ledger.any_acknowledged(rng) for _ in range(READ_BACK_ORDERS))
    places = {index for index in drawn if index is not None}
    reader = OrderReader(address=address, source=ledger.orders, timeouts=Timeouts(), clock_ns=time.perf_counter_ns)
    result = await reader.read(places, again=True, connections=READ_BACK_CONNECTIONS)
    found.mistaken = sum(map(len, (result.lost_ids, result.different, result.unprocessed, result.unread)))
    found.read_back = result.describe()
    await _list_orders(address, ledger, found)
    found.unlisted = ledger.missing
    found.miscounted = abs(metrics.orders - found.counted)
    deadline_s = time.monotonic() + close_limit_s
    # Polled, because nothing reports that the server has closed a socket.
    while (left := take_sample().sockets - sockets_before) > 0 and time.monotonic() <= deadline_s:  # noqa: ASYNC110
        await asyncio.sleep(POLL_EVERY_S)
    found.sockets_left = max(0, left)
    return found


async def _list_orders(address: Address, ledger: SentOrders, found: FinalCheck) -> None:
    cursor: str | None = ""
    with closing(Connection(address)) as connection:
        while cursor is not None:
            after = f"&cursor={cursor}" if cursor else ""
            answer = await send_request(connection, address.get(f"/orders?limit={PAGE_SIZE}{after}"))
            if answer.status != 200:
                raise NoResponse(f"GET /orders: status {answer.status}")
            try:
                page = decode_json(answer.body)
                order_ids, cursor = [order["order_id"] for order in page["orders"]], page["next_cursor"]
            except (BadJson, LookupError, TypeError):
                raise NoResponse("GET /orders: no page of a listing") from None
            found.counted += len(order_ids)
            found.unknown += sum(not ledger.note_found(order_id) for order_id in order_ids)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """A value and its upper limit. `value` is None if it was not measured. `first` is the value of minute one."""

    name: str
    unit: str = ""
    at_most: float
    value: float | None
    first: float | None = None

    @property
    def passed(self) -> bool:
        return self.value is not None and self.value <= self.at_most

    @property
    def line(self) -> str:
        shown = "not measured" if self.value is None else f"{self.value:,.6g}{self.unit}"
        first = "" if self.first is None else f", minute one {self.first:,.6g}{self.unit}"
        verdict = "pass" if self.passed else "FAIL"
        return f"{verdict}  {shown}, must be <= {self.at_most:,.6g}{self.unit}{first}: {self.name}"

    def to_json(self) -> dict[str, Any]:
        return {**msgspec.structs.asdict(self), "passed": self.passed}


def compare_minutes(minutes: Sequence[Minute], errors: Mapping[str, int]) -> list[Finding]:
    """Compare the last of at least two minutes with the first. `errors` counts failed requests by reason."""
    one, last = minutes[0], minutes[-1]

    def finding(name: str, field: str, at_most: float, unit: str = "") -> Finding:
        return Finding(name=name, unit=unit, at_most=at_most, value=getattr(last, field), first=getattr(one, field))

    memory_mib = one.memory_mib * (1 + MEMORY_SHARE) + MEMORY_MIB
    wal_mib = min(WAL_MIB, one.wal_mib + WAL_GROWTH_MIB)
    p99_ms = max((one.p99_ms or 0.0) * P99_FACTOR, P99_MS)
    return [
        finding("memory, resident, the highest of the last minute", "memory_mib", memory_mib, " MiB"),
        finding("open files without sockets", "files", one.files),
        finding("sockets", "sockets", CONNECTIONS + OWN_SOCKETS),
        finding("threads", "threads", one.threads + WORKERS),
        finding("write-ahead log in the last minute", "wal_mib", wal_mib, " MiB"),
        finding("p99 of POST /order from when due, in the last minute", "p99_ms", p99_ms, " ms"),
        Finding(name="wrong or missing answers", at_most=0, value=sum(errors.values())),
    ]


def check_final(found: FinalCheck, *, log_problems: int) -> list[Finding]:
    """Return findings that require each count to be 0. `log_problems` counts bad log lines, and a failed stop."""
    values = {
        "acknowledged orders that are not listed": found.unlisted,
        "listed orders that were never sent, or are listed twice": found.unknown,
        "difference between the counts of orders in /metrics and in the listing": found.miscounted,
        "of 1,000 random orders, those lost, different, unprocessed or unreadable": found.mistaken,
        "orders that are not Completed at the end": found.incomplete,
        "sockets still open after all clients have disconnected": found.sockets_left,
        "warnings and errors in the server's log, and when the server stopped": log_problems,
    }
    return [Finding(name=name, at_most=0, value=value) for name, value in values.items()]


def find_other_causes(minutes: Sequence[Minute]) -> Iterator[str]:
    """Yield texts that name the minutes in which this program or the disk was slow and so raised the latencies."""
    for name, field in (("this program was late", "late_p99_ms"), ("syncs of another file were slow", "disk_p99_ms")):
        slow = [minute.name for minute in minutes if (getattr(minute, field) or 0.0) > SLOW_MS]
        if slow:
            yield f"{name}, over {SLOW_MS:g} ms in the p99, in minute {', '.join(slow)}"
