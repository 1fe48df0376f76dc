"""Many orders, newest first, a page at a time. Runs on the caller's thread."""

import msgspec
from msgspec import Struct

from models import statements
from models.database import RetryingSqliteDatabase
from models.order import Order, Status

HIGHEST = 2**63 - 1
"""Above every sequence and every time."""
LOWEST = -(2**63)

_decode = msgspec.json.Decoder(list[Order]).decode


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


def list_orders(database: RetryingSqliteDatabase, listing: Listing) -> Page:
    """A page as of the last commit.

    How far down a page reaches is told by the sequence of its last order: orders that come in meanwhile are above it.
    Sequences count in the order of acceptance; times may go back where the clock was set back.
    """
    from_us, until_us = listing.created_from_us, listing.created_until_us
    statement = statements.list_orders(
        listing.status, by_user=listing.user_id is not None, by_time=from_us is not None or until_us is not None
    )
    parameters = {
        "before": listing.before,
        "limit": listing.limit + 1,
        "user_id": listing.user_id,
        "created_from_us": LOWEST if from_us is None else from_us,
        "created_until_us": HIGHEST if until_us is None else until_us,
    }
    [found] = database.execute_sql(statement, parameters).fetchone()
    orders = _decode(found)
    if len(orders) <= listing.limit:
        return Page(orders, None)
    return Page(orders[:-1], orders[-2].sequence)
