"""The SQL statements that list orders. Constants and pure functions."""

from models.postgresql.statements import ITS_ORDER, JOINED, READY, STORED_ORDER

# The partial indexes that contain the orders of each status. A Pending order is in one of two indexes.
_PLACES = {
    "Pending": (("work", READY), ("work", "due_us IS NOT NULL")),
    "Processing": (("work", "node IS NOT NULL"),),
    "Completed": (("ends", "status = 'c'"),),
    "Failed": (("ends", "status = 'f'"),),
    "Cancelled": (("ends", "status = 'x'"),),
}
_OF_USER = " AND user_id = %(user_id)s"
_IN_TIME = " AND orders.created_us >= %(created_from_us)s AND orders.created_us < %(created_until_us)s"
_NEWEST = "ORDER BY sequence DESC LIMIT %(limit)s"


def list_orders(status: str | None, *, by_user: bool, by_time: bool) -> str:
    """Returns a statement that selects the newest `limit` orders with a sequence below `before`, newest first.

    If `status` is not None, the statement selects only orders with this status. If `by_user` is true, it selects only
    orders of `user_id`. If `by_time` is true, it selects only orders that were created at or after `created_from_us`
    and before `created_until_us`.
    """
    filters = _OF_USER * by_user + _IN_TIME * by_time
    if status is None:
        found = f"SELECT sequence FROM orders WHERE sequence < %(before)s{filters} {_NEWEST}"
    else:
        found = " UNION ALL ".join(f"({_in_table(table, place, filters)})" for table, place in _PLACES[status])
    return f"""
SELECT coalesce(json_agg({STORED_ORDER} ORDER BY orders.sequence DESC), '[]')::text
FROM (SELECT sequence FROM ({found}) AS found {_NEWEST}) AS newest
{ITS_ORDER.format(table="newest")} {JOINED}"""


def _in_table(table: str, place: str, filters: str) -> str:
    """Selects the sequences of orders in this table, newest first."""
    if not filters:
        return f"SELECT sequence FROM {table} WHERE {place} AND sequence < %(before)s {_NEWEST}"
    return f"""SELECT listed.sequence FROM (
        SELECT sequence FROM {table} WHERE {place} AND sequence < %(before)s ORDER BY sequence DESC) AS listed
        CROSS JOIN LATERAL (SELECT FROM orders WHERE orders.sequence = listed.sequence{filters} OFFSET 0) AS matching
        ORDER BY listed.sequence DESC LIMIT %(limit)s"""
