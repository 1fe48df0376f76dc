"""Reads a page of orders. Runs on the caller's thread."""

from typing import Any

from msgspec.structs import replace

from models.listing import HIGHEST, LOWEST, Listing, Page, first_place, page_of
from models.order import Order, Status
from models.postgresql import listing_statements
from models.postgresql.connection.database import RetryingPostgresqlDatabase
from models.postgresql.final_sequences import final_sequence
from models.postgresql.listing_statements import NEWEST_FIRST, OLDEST_FIRST
from models.postgresql.transaction import array, one_row
from models.wire import decode_orders


def list_orders(database: RetryingPostgresqlDatabase, listing: Listing) -> Page:
    """A page of the committed orders. Due times are times of the database's clock.

    The next page begins after the last sequence of this page, so new orders do not shift the pages. Orders are sorted
    by sequence, not by time, because sequences follow the order of acceptance even if the clock was set back.
    """
    return database.retry(lambda: _page(database, listing))


def _page(database: RetryingPostgresqlDatabase, listing: Listing) -> Page:
    connection = database.psycopg_connection
    final = connection.final_sequence
    orders = _list(database, listing, final=final)
    if listing.oldest_first and len(orders) <= listing.limit:
        last, limit = max(first_place(listing), final), listing.limit - len(orders)
        orders += _list(database, replace(listing, last=last, limit=limit), final=final_sequence(connection))
    return page_of(orders, listing)


def _list(database: RetryingPostgresqlDatabase, listing: Listing, *, final: int) -> list[Order]:
    """The orders of a page, and the next order if there are more orders."""
    from_us, until_us = listing.created_from_us, listing.created_until_us
    parameters = {
        "last": first_place(listing),
        "final": final,
        "limit": listing.limit + 1,
        "user_id": listing.user_id,
        "created_from_us": LOWEST if from_us is None else from_us,
        "created_until_us": HIGHEST if until_us is None else until_us,
    }
    by_user, by_time = listing.user_id is not None, from_us is not None or until_us is not None
    is_rare = listing.status not in (None, Status.COMPLETED)
    direction = OLDEST_FIRST if listing.oldest_first else NEWEST_FIRST
    if listing.status and is_rare and by_user and not by_time:
        [has_many] = database.execute_sql(listing_statements.has_many_orders(direction), parameters).fetchone()
        if has_many:
            return _list_by_merging(database, listing.status, direction, parameters)
    statement = listing_statements.list_orders(listing.status, direction, by_user=by_user, by_time=by_time)
    [found] = database.execute_sql(statement, parameters).fetchone()
    return decode_orders(found)


def _list_by_merging(
    database: RetryingPostgresqlDatabase,
    status: Status,
    direction: listing_statements.Direction,
    parameters: dict[str, Any],
) -> list[Order]:
    """Reads the indexes of the user and of the status side by side, which needs other settings."""
    connection = database.psycopg_connection
    # Both statements see the same commits.
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    connection.execute(listing_statements.BEGIN_MERGE, prepare=False)
    found = connection.execute(listing_statements.list_by_merging(status, direction), parameters).fetchall()
    connection.execute(listing_statements.END_MERGE, prepare=False)
    sequences = array(sequence for [sequence] in found)
    [orders] = one_row(connection.execute(listing_statements.list_these(direction), {"sequences": sequences}))
    connection.execute("COMMIT")
    return decode_orders(orders)
