"""Reads a page of orders, newest first. Runs on the caller's thread."""

from models.listing import HIGHEST, LOWEST, Listing, Page
from models.postgresql import listing_statements
from models.postgresql.connection.database import RetryingPostgresqlDatabase
from models.wire import decode_orders


def list_orders(database: RetryingPostgresqlDatabase, listing: Listing) -> Page:
    """A page of the committed orders. Due times are times of the database's clock.

    The next page begins below the last sequence of this page, so new orders do not change the next page. Orders are
    sorted by sequence, not by time, because sequences follow the order of acceptance even if the clock was set back.
    """
    from_us, until_us = listing.created_from_us, listing.created_until_us
    statement = listing_statements.list_orders(
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
    orders = decode_orders(found)
    if len(orders) <= listing.limit:
        return Page(orders, None)
    return Page(orders[:-1], orders[-2].sequence)
