"""Reads a page of orders. Runs on the caller's thread."""

from models.listing import HIGHEST, LOWEST, Listing, Page, first_place, page_of
from models.sqlite import listing_statements
from models.sqlite.database import RetryingSqliteDatabase
from models.wire import decode_orders


def list_orders(database: RetryingSqliteDatabase, listing: Listing) -> Page:
    """A page of the committed orders.

    The next page begins after the last sequence of this page, so new orders do not shift the pages. Orders are sorted
    by sequence, not by time, because sequences follow the order of acceptance even if the clock was set back.
    """
    from_us, until_us = listing.created_from_us, listing.created_until_us
    statement = listing_statements.list_orders(
        listing.status,
        by_user=listing.user_id is not None,
        by_time=from_us is not None or until_us is not None,
        oldest_first=listing.oldest_first,
    )
    parameters = {
        "last": first_place(listing),
        "limit": listing.limit + 1,
        "user_id": listing.user_id,
        "created_from_us": LOWEST if from_us is None else from_us,
        "created_until_us": HIGHEST if until_us is None else until_us,
    }
    [found] = database.execute_sql(statement, parameters).fetchone()
    return page_of(decode_orders(found), listing)
