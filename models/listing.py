"""Which orders a listing asks for, and a page of them. Values; they belong to no thread."""

from msgspec import Struct

from models.order import Order, Status

HIGHEST = 2**63 - 1
"""Above every sequence and every time."""
LOWEST = -(2**63)


class Listing(Struct, frozen=True, gc=False, kw_only=True):
    """Which orders are wanted: at most `limit` that were accepted before the one with the sequence `before`.

    Where it says more, only those with the status, of the user, created at `created_from_us` or later, and before
    `created_until_us` (microseconds since 1970, UTC).
    """

    limit: int
    before: int = HIGHEST
    status: Status | None = None
    user_id: int | None = None
    created_from_us: int | None = None
    created_until_us: int | None = None


class Page(Struct, frozen=True, gc=False):
    """The orders, newest first; `before` is where the next page begins, None where there are no more."""

    orders: list[Order]
    before: int | None
