"""Reads a page of orders, newest first. Runs on the caller's thread."""

from models.listing import HIGHEST, LOWEST, Listing, Page
from models.order import Order, Status
from models.postgresql import listing_statements
from models.postgresql.connection.database import RetryingPostgresqlDatabase
from models.postgresql.transaction import array, one_row
from models.wire import decode_orders


def list_orders(database: RetryingPostgresqlDatabase, listing: Listing) -> Page:
    """A page of the committed orders. Due times are times of the database's clock.

    The next page begins below the last sequence of this page, so new orders do not change the next page. Orders are
    sorted by sequence, not by time, because sequences follow the order of acceptance even if the clock was set back.
    """
    orders = database.retry(lambda: _list(database, listing))
    if len(orders) <= listing.limit:
        return Page(orders, None)
    return Page(orders[:-1], orders[-2].sequence)


def _list(database: RetryingPostgresqlDatabase, listing: Listing) -> list[Order]:
    """The orders of a page, and the next order if there are more orders."""
    from_us, until_us = listing.created_from_us, listing.created_until_us
    parameters = {
        "before": listing.before,
        "limit": listing.limit + 1,
        "user_id": listing.user_id,
        "created_from_us": LOWEST if from_us is None else from_us,
        "created_until_us": HIGHEST if until_us is None else until_us,
    }
    by_user, by_time = listing.user_id is not None, from_us is not None or until_us is not None
    is_rare = listing.status not in (None, Status.COMPLETED)
    if listing.status and is_rare and by_user and not by_time and _has_many_orders(database, parameters):
        return _list_by_merging(database, listing.status, parameters)
    statement = listing_statements.list_orders(listing.status, by_user=by_user, by_time=by_time)
    [found] = database.execute_sql(statement, parameters).fetchone()
    return decode_orders(found)


def _has_many_orders(database: RetryingPostgresqlDatabase, parameters: dict[str, int | None]) -> bool:
    [has_many] = database.execute_sql(listing_statements.HAS_MANY_ORDERS, parameters).fetchone()
    return bool(has_many)


def _list_by_merging(
    database: RetryingPostgresqlDatabase, status: Status, parameters: dict[str, int | None]
) -> list[Order]:
    """Reads the indexes of the user and of the status side by side, which needs other settings."""
    connection = database.psycopg_connection
    # Both statements see the same commits.
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    connection.execute(listing_statements.BEGIN_MERGE, prepare=False)
    found = connection.execute(listing_statements.list_by_merging(status), parameters).fetchall()
    connection.execute(listing_statements.END_MERGE, prepare=False)
    sequences = array(sequence for [sequence] in found)
    [orders] = one_row(connection.execute(listing_statements.list_these(), {"sequences": sequences}))
    connection.execute("COMMIT")
    return decode_orders(orders)
