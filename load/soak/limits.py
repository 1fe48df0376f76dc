"""Compares the last minute of a soak with minute one, and checks the server at the end. Runs on the event loop.

Minute one is the first minute after the warm-up. No order is kept in memory, but these values can grow:

- Memory, by 4 MiB: the dashboard's history (1,680 points of 300 bytes, and 50 KB per reader) and SQLite's caches (2 MiB
  for each of three connections). The event log, about 25 MiB, is full before the warm-up.
- Memory, by another 10 %, because the heap becomes fragmented. In total, a process of 80 MiB can grow by 12 MiB. At
  600 orders/s, this limit finds a leak of 40 bytes per order in ten minutes, and of 6 bytes in an hour.
- The file of the write-ahead log. SQLite runs a checkpoint after a commit that leaves over 16 MiB in this log. One
  commit adds up to 2 MiB, and a reader can delay the checkpoint. So the limit is 28 MiB: 16 MiB, and 12 MiB for some
  commits. After minute one, the file can grow by two commits.
- Sockets, up to one per client and webhook connection, and ten of the server. At the end, the sockets of clients must
  be closed.
- The number of threads, because a pool creates threads only when they are needed. The number of files must not grow.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from random import Random
from typing import Any, NamedTuple

import msgspec

from load.http.address import Address
from load.http.connection import Connection, NoResponse, send_request
from load.orders.comparison import BadJson, decode_json
from load.orders.generated import SentOrders
from load.readback.backlog import Backlog
from load.readback.metrics import count_received
from load.readback.order_reader import OrderReader
from load.soak.minute import Minute, Sample
from load.soak.sessions import CONNECTIONS

READ_BACK_ORDERS, READ_BACK_CONNECTIONS = 1_000, 8
PAGE_SIZE = 200
CLOSE_LIMIT_S, POLL_EVERY_S = 10.0, 0.05
MEMORY_SHARE, MEMORY_MIB = 0.10, 4.0
P99_FACTOR, P99_MS = 1.5, 10.0
WAL_MIB, WAL_GROWTH_MIB = 28.0, 4.0
OWN_SOCKETS = 10  # The most sockets of the server that belong to no client: for listening, and of its event loop.
WORKERS, WEBHOOK_CONNECTIONS = 8, 64  # The server's --workers and --webhook-connections.


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


def require_zero(values: Mapping[str, int]) -> list[Finding]:
    """Return findings that require each value to be 0."""
    return [Finding(name=name, at_most=0, value=value) for name, value in values.items()]


class FinalCheck(NamedTuple):
    """The findings at the end of a soak, the number of listed orders, and a sentence about orders that were read."""

    read_back: str
    counted: int
    findings: list[Finding]


async def check_server(
    address: Address,
    *,
    ledger: SentOrders,
    take_sample: Callable[[], Sample],
    sockets_before: int,
    rng: Random,
    receiver: Address | None = None,
    close_limit_s: float = CLOSE_LIMIT_S,
) -> FinalCheck:
    """Wait until all orders are processed. Then read 1,000 back, list all orders, and count the server's sockets.

    The server has `close_limit_s` seconds to close the sockets of its clients. `receiver` is a reference server that
    received the webhooks. Raises CommandError if a request fails.
    """
    with closing(Backlog(address)) as backlog:
        await backlog.wait(before=0)
        metrics = await backlog.poll()
    drawn = (ledger.any_acknowledged(rng) for _ in range(READ_BACK_ORDERS))
    places = {index for index in drawn if index is not None}
    reader = OrderReader(address=address, source=ledger.orders)
    result = await reader.read(places, again=True, connections=READ_BACK_CONNECTIONS)
    counted, unknown = await _list_orders(address, ledger)
    deadline_s = time.monotonic() + close_limit_s
    # Polled, because nothing reports that the server has closed a socket.
    while (left := take_sample().sockets - sockets_before) > 0 and time.monotonic() <= deadline_s:  # noqa: ASYNC110
        await asyncio.sleep(POLL_EVERY_S)
    values = {
        "acknowledged orders that are not listed": ledger.missing,
        "listed orders that were never sent, or are listed twice": unknown,
        "difference between the counts of orders in /metrics and in the listing": abs(metrics.orders - counted),
        "of 1,000 random orders, those lost, different, unprocessed or unreadable": sum(
            map(len, (result.lost_ids, result.different, result.unprocessed, result.unread))
        ),
        "orders that are not Completed at the end": metrics.orders - metrics.completed_orders,
        "sockets still open after all clients have disconnected": max(0, left),
    }
    if receiver:
        received = await count_received(receiver)
        values["Completed orders whose webhook did not arrive"] = max(0, metrics.completed_orders - received)
    return FinalCheck(result.describe(), counted, require_zero(values))


async def _list_orders(address: Address, ledger: SentOrders) -> tuple[int, int]:
    """Return how many orders are listed, and how many of these were never sent or are listed twice."""
    counted, unknown, cursor = 0, 0, ""
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
            counted += len(order_ids)
            unknown += sum(not ledger.note_found(order_id) for order_id in order_ids)
    return counted, unknown


def compare_minutes(
    minutes: Sequence[Minute], errors: Mapping[str, int], *, sockets: int = CONNECTIONS
) -> list[Finding]:
    """Compare the last of at least two minutes with the first. `errors` counts failed requests by reason.

    `sockets` is the highest number of the server's connections to clients and to a receiver of webhooks.
    """
    one, last = minutes[0], minutes[-1]

    def finding(name: str, field: str, at_most: float, unit: str = "") -> Finding:
        return Finding(name=name, unit=unit, at_most=at_most, value=getattr(last, field), first=getattr(one, field))

    memory_mib = one.memory_mib * (1 + MEMORY_SHARE) + MEMORY_MIB
    wal_mib = min(WAL_MIB, one.wal_mib + WAL_GROWTH_MIB)
    p99_ms = max((one.p99_ms or 0.0) * P99_FACTOR, P99_MS)
    return [
        finding("memory, resident, the highest of the last minute", "memory_mib", memory_mib, " MiB"),
        finding("open files without sockets", "files", one.files),
        finding("sockets", "sockets", sockets + OWN_SOCKETS),
        finding("threads", "threads", one.threads + WORKERS),
        finding("write-ahead log in the last minute", "wal_mib", wal_mib, " MiB"),
        finding("p99 of POST /order from when due, in the last minute", "p99_ms", p99_ms, " ms"),
        Finding(name="wrong or missing answers", at_most=0, value=sum(errors.values())),
    ]
