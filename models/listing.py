"""The filters of a listing, and a page of orders. Immutable values; usable on any thread."""

from msgspec import Struct

from models.order import Order, Status

HIGHEST = 2**63 - 1
"""No sequence or time is higher."""
LOWEST = -(2**63)
"""No sequence or time is lower."""


class Listing(Struct, frozen=True, gc=False, kw_only=True):
    """Selects the newest orders with a sequence below `before`, at most `limit`.

    The other fields are filters: the status, the user, and the time of acceptance, from `created_from_us` to before
    `created_until_us` (microseconds since 1970, UTC). A filter that is None matches every order.
    """

    limit: int
    before: int = HIGHEST
    status: Status | None = None
    user_id: int | None = None
    created_from_us: int | None = None
    created_until_us: int | None = None


class Page(Struct, frozen=True, gc=False):
    """The orders, newest first. `before` is the `Listing.before` of the next page; None if this page is the last."""

    orders: list[Order]
    before: int | None
