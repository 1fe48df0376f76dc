"""Selects the orders of a listing whose error contains a text. Runs on the event loop.

No index contains the errors, so all orders that the other filters select are examined. Each request examines a limited
number of orders, and each read of the database even fewer, so that other reads do not wait long.
"""

from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from models.listing import Listing, Page
from models.writes.attempts import storable_text

EXAMINED_BY_READ = 200
MAX_READS = 10
MAX_EXAMINED = MAX_READS * EXAMINED_BY_READ
"""How many orders a page examines, at most. So a page can have fewer orders than its limit, and not be the last one."""


async def page_with_error(read: Callable[[Listing], Awaitable[Page]], listing: Listing, error: str) -> Page:
    """The first `listing.limit` orders whose error contains `error`; upper and lower case must match."""
    text = storable_text(error)
    rest = replace(listing, limit=EXAMINED_BY_READ)
    orders = []
    for _ in range(MAX_READS):
        page = await read(rest)
        orders += [order for order in page.orders if order.error is not None and text in order.error]
        if len(orders) > listing.limit:
            return Page(orders[: listing.limit], orders[listing.limit - 1].sequence)
        rest = replace(rest, last=page.last)
        if page.last is None or len(orders) == listing.limit:
            break
    return Page(orders, rest.last)
