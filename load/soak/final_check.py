"""The check after a soak: are all orders processed and stored, all connections closed? Runs on the event loop."""

import asyncio
import time
from collections.abc import Callable
from contextlib import closing
from random import Random

import msgspec

from load.backlog import Backlog
from load.http.address import Address
from load.http.connection import Connection, NoResponse, send_request
from load.http.connections import Timeouts
from load.orders.comparison import BadJson, decode_json
from load.orders.sent_orders import SentOrders
from load.readback import OrderReader
from load.soak.measurements import Sample

READ_BACK_ORDERS, READ_BACK_CONNECTIONS = 1_000, 8
PAGE_SIZE = 200
CLOSE_LIMIT_S, LOOK_EVERY_S = 10.0, 0.05


class FinalCheck(msgspec.Struct, rename={"unknown": "strange"}):
    """What was found. The names in JSON are the same, except for `unknown`.

    `counted` orders are in the listing. `unlisted` orders were acknowledged and are not. `unknown` orders were never
    sent, or are listed twice. `miscounted` is how much /metrics and the listing differ. `mistaken` orders were read
    back and are lost, different, unprocessed or unreadable. `incomplete` orders are not Completed. `sockets_left` are
    the open connections beyond those before the first client.
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
    """Wait until orders are processed, then read some back, list all, and count connections.

    The server has `close_limit_s` to close the connections of clients that have disconnected. NoResponse, NoMetrics,
    ProcessGone.
    """
    found = FinalCheck()
    with closing(Backlog(address, timeouts=Timeouts(), clock_ns=time.perf_counter_ns)) as backlog:
        await backlog.wait(before=0)
        metrics = await backlog.look()
    found.incomplete = metrics.orders - metrics.completed
    drawn = (ledger.any_acknowledged(rng) for _ in range(READ_BACK_ORDERS))
    places = {index for index in drawn if index is not None}
    reader = OrderReader(address=address, source=ledger.orders, timeouts=Timeouts(), clock_ns=time.perf_counter_ns)
    result = await reader.read(places, again=True, connections=READ_BACK_CONNECTIONS)
    found.mistaken = sum(map(len, (result.lost, result.different, result.unprocessed, result.unread)))
    found.read_back = result.describe()
    await _list_orders(address, ledger, found)
    found.unlisted = ledger.missing
    found.miscounted = abs(metrics.orders - found.counted)
    deadline_s = time.monotonic() + close_limit_s
    while (left := take_sample().sockets - sockets_before) > 0 and time.monotonic() <= deadline_s:  # noqa: ASYNC110
        await asyncio.sleep(LOOK_EVERY_S)
    found.sockets_left = max(0, left)
    return found


async def _list_orders(address: Address, ledger: SentOrders, found: FinalCheck) -> None:
    """List all orders from the newest to the oldest."""
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
