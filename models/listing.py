"""The filters of a listing, and a page of orders. Immutable values; usable on any thread."""

from msgspec import Struct

from models.order import Order, Status

HIGHEST = 2**63 - 1
"""The highest possible sequence or time."""
LOWEST = -(2**63)
"""The lowest possible sequence or time."""


class Listing(Struct, frozen=True, gc=False, kw_only=True):
    """Selects at most `limit` orders: the newest orders with a sequence below `before`.

    The other fields are filters: the status, the user, and the time of acceptance, which is at or after
    `created_from_us` and before `created_until_us` (microseconds since 1970, UTC). A filter that is None matches every
    order.
    """

    limit: int
    before: int = HIGHEST
    status: Status | None = None
    user_id: int | None = None
    created_from_us: int | None = None
    created_until_us: int | None = None


class Page(Struct, frozen=True, gc=False):
    """A page of orders, newest first. `before` is the `Listing.before` of the next page; None on the last page."""

    orders: list[Order]
    before: int | None
