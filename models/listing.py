"""The filters of a listing, and a page of orders. Immutable values; usable on any thread."""

from msgspec import Struct

from models.order import Order, Status

HIGHEST = 2**63 - 1
"""No sequence or time is higher."""
LOWEST = -(2**63)
"""No sequence or time is lower."""


class Listing(Struct, frozen=True, gc=False, kw_only=True):
    """The newest orders, at most `limit`, with a sequence below `before`.

    The other fields are filters: only orders with this status, of this user, created at or after `created_from_us`,
    created before `created_until_us` (microseconds since 1970, UTC). A filter that is None matches every order.
    """

    limit: int
    before: int = HIGHEST
    status: Status | None = None
    user_id: int | None = None
    created_from_us: int | None = None
    created_until_us: int | None = None


class Page(Struct, frozen=True, gc=False):
    """The orders, newest first. The next page is the one with this `before`; None if this page is the last."""

    orders: list[Order]
    before: int | None
