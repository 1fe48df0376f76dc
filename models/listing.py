"""The filters of a listing, and a page of orders. Immutable values; usable on any thread."""

from msgspec import Struct

from models.order import Order, Status

HIGHEST = 2**63 - 1
"""The highest possible sequence or time."""
LOWEST = -(2**63)
"""The lowest possible sequence or time."""


class Listing(Struct, frozen=True, gc=False, kw_only=True):
    """Selects at most `limit` orders, newest first or oldest first.

    The orders follow the order with the sequence `last`, which need not exist; None stands for all orders. The other
    fields are filters: the status, the user, and the time of acceptance, which is at or after `created_from_us` and
    before `created_until_us` (microseconds since 1970, UTC). A filter that is None matches every order.
    """

    limit: int
    oldest_first: bool = False
    last: int | None = None
    status: Status | None = None
    user_id: int | None = None
    created_from_us: int | None = None
    created_until_us: int | None = None


class Page(Struct, frozen=True, gc=False):
    """A page of orders. `last` is the `Listing.last` of the next page; None on the last page.

    If the listing is oldest first, orders that are accepted later follow the last page. No order is ever stored before
    an order that a page has contained.
    """

    orders: list[Order]
    last: int | None


def first_place(listing: Listing) -> int:
    """The sequence after which the page begins."""
    if listing.last is not None:
        return listing.last
    return 0 if listing.oldest_first else HIGHEST


def page_of(orders: list[Order], listing: Listing) -> Page:
    """The page, from the first `listing.limit + 1` orders that follow the order `listing.last`."""
    if len(orders) <= listing.limit:
        return Page(orders, None)
    return Page(orders[:-1], orders[-2].sequence)
