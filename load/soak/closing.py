"""Owns the end of a soak's day: does any order wait, is every order there, who is left; on the event loop's thread."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import msgspec

from load.backlog import Backlog
from load.http.address import Address
from load.http.closed_loop import ClosedLoop
from load.http.connection import Connection, NoResponse, send_request
from load.http.connections import Timeouts
from load.http.response import Response
from load.orders.sent_orders import SentOrders
from load.readback import OrderReader
from load.soak.sample import Sample

READ_BACK = 1_000
READING_CLIENTS = 8
PAGE = 200
LEAVING_S, LOOK_S = 10.0, 0.05


class Listed(msgspec.Struct):
    """An order of a listing; the rest is not looked at."""

    order_id: int


class Page(msgspec.Struct):
    """A page of a listing."""

    orders: list[Listed]
    next_cursor: str | None


class Totals(msgspec.Struct):
    """What /metrics says; the rest is not looked at."""

    total_orders: int
    completed_orders: int


_pages = msgspec.json.Decoder(Page)
_totals = msgspec.json.Decoder(Totals)


@dataclass(kw_only=True)
class Closing:
    """What was found at the end, and how many orders were `counted` in the listing.

    `unlisted` orders were acknowledged and are in no listing; `strange` ones were never sent, or are listed twice.
    `miscounted` is by how many the totals differ from the listing. `mistaken` orders were read back and are lost,
    different, not processed or not readable. `incomplete` ones are not Completed. `sockets_left` are open connections,
    beyond those before the first client came.
    """

    counted: int = 0
    unlisted: int = 0
    strange: int = 0
    miscounted: int = 0
    mistaken: int = 0
    read_back: str = ""
    incomplete: int = 0
    sockets_left: int = 0


async def close_the_day(
    address: Address,
    *,
    ledger: SentOrders,
    look: Callable[[], Sample],
    sockets_before: int,
    chance: Random,
    clock_ns: Callable[[], int],
    leaving_s: float = LEAVING_S,
) -> Closing:
    """Wait for the processing, count and compare, and see all connections closed; NoResponse, NoMetrics, ProcessGone.

    The server has `leaving_s` to notice that they are.
    """
    closing = Closing()
    closing.incomplete, total = await _wait(address, clock_ns)
    await _read_back(address, ledger, closing, chance, clock_ns)
    await _count(address, ledger, closing)
    closing.unlisted = ledger.missing
    closing.miscounted = abs(total - closing.counted)
    closing.sockets_left = await _leave(look, sockets_before, clock_ns, leaving_s)
    return closing


async def _wait(address: Address, clock_ns: Callable[[], int]) -> tuple[int, int]:
    """Give how many orders are not Completed when nothing moves any more, and how many there are."""
    backlog = Backlog(address, timeouts=Timeouts(), clock_ns=clock_ns)
    connection = Connection(address)
    try:
        await backlog.wait(before=0)
        totals = _totals_in(await send_request(connection, address.get("/metrics")))
    finally:
        backlog.close()
        connection.close()
    return totals.total_orders - totals.completed_orders, totals.total_orders


async def _read_back(
    address: Address, ledger: SentOrders, closing: Closing, chance: Random, clock_ns: Callable[[], int]
) -> None:
    drawn = (ledger.any_acknowledged(chance) for _ in range(READ_BACK))
    chosen = {index for index in drawn if index is not None}
    clients = ClosedLoop(address, count=READING_CLIENTS, timeouts=Timeouts(), clock_ns=clock_ns)
    reading = OrderReader(
        address=address, source=ledger.orders, clients=clients, timeouts=Timeouts(), clock_ns=clock_ns
    )
    try:
        await reading.read(chosen, again=True)
    finally:
        clients.close()
    verdict = reading.result
    closing.mistaken = sum(map(len, (verdict.lost, verdict.different, verdict.unprocessed, verdict.unread)))
    closing.read_back = verdict.line


async def _count(address: Address, ledger: SentOrders, closing: Closing) -> None:
    """Go through the listing from the newest order to the oldest."""
    connection, cursor = Connection(address), ""
    try:
        while True:
            page = _page_in(await send_request(connection, address.get(f"/orders?limit={PAGE}{cursor}")))
            closing.counted += len(page.orders)
            closing.strange += sum(not ledger.note_found(order.order_id) for order in page.orders)
            if page.next_cursor is None:
                return
            cursor = f"&cursor={page.next_cursor}"
    finally:
        connection.close()


def _totals_in(answer: Response) -> Totals:
    """Read how many orders there are; NoResponse where the answer does not say."""
    try:
        return _totals.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise NoResponse("GET /metrics: no totals") from None


def _page_in(answer: Response) -> Page:
    """Read a page of the listing; NoResponse where the answer is none."""
    if answer.status != 200:
        raise NoResponse(f"GET /orders: status {answer.status}")
    try:
        return _pages.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise NoResponse("GET /orders: no page of a listing") from None


async def _leave(look: Callable[[], Sample], sockets_before: int, clock_ns: Callable[[], int], leaving_s: float) -> int:
    """Give how many connections are left once all clients have gone and the server had time to notice."""
    deadline_ns = clock_ns() + int(leaving_s * 1e9)
    while True:
        left = look().sockets - sockets_before
        if left <= 0 or clock_ns() > deadline_ns:
            return max(0, left)
        await asyncio.sleep(LOOK_S)
