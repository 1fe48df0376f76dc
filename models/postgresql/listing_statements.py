"""The SQL statements that list orders. Constants and pure functions.

Each statement selects the newest `limit` orders with a sequence below `before`, newest first.
"""

from models.postgresql.statements import BLOCK_BITS, ITS_ORDER, JOINED, READY, STORED_ORDER

# The partial indexes that contain the orders of each status. Completed orders have no index, because usually most
# orders are Completed. A Pending order is in one of two indexes.
_PLACES = {
    "Pending": (("work", READY), ("work", "due_us IS NOT NULL")),
    "Processing": (("work", "node IS NOT NULL"),),
    "Completed": (("ends", "status = 'c'"),),
    "Failed": (("ends", "status = 'f'"),),
    "Cancelled": (("ends", "status = 'x'"),),
}
_BELOW = "sequence < %(before)s"
_IN_BLOCK = f"sequence >= block << {BLOCK_BITS} AND sequence < (block + 1) << {BLOCK_BITS}"
_IN_TIME = "created_us >= %(created_from_us)s AND created_us < %(created_until_us)s"
_OF_USER = "user_id = %(user_id)s"
_NEWEST = "ORDER BY sequence DESC LIMIT %(limit)s"

MANY_ORDERS = 1_000
"""The orders of a user with more orders than this are listed by `list_by_merging`, if the listing has a status."""
HAS_MANY_ORDERS = f"""
SELECT count(*) > {MANY_ORDERS} FROM (
    SELECT FROM orders WHERE user_id = %(user_id)s AND {_BELOW} LIMIT {MANY_ORDERS + 1}) AS first"""

BEGIN_MERGE = "SET LOCAL enable_mergejoin = on; SET LOCAL enable_nestloop = off"
END_MERGE = "SET LOCAL enable_mergejoin = off; SET LOCAL enable_nestloop = on"
"""The settings of a transaction before and after it executes `list_by_merging`."""


def list_orders(status: str | None, *, by_user: bool, by_time: bool) -> str:
    """Returns a statement that lists orders.

    If `status` is not None, the statement selects only orders with this status. If `by_user` is true, it selects only
    orders of `user_id`. If `by_time` is true, it selects only orders that were created at or after `created_from_us`
    and before `created_until_us`.
    """
    if by_time:
        # Walks through the blocks that contain orders of this time, newest first.
        found = f"""SELECT sequence FROM (
            SELECT DISTINCT block FROM blocks
            WHERE block <= %(before)s::bigint >> {BLOCK_BITS}
                AND last_us >= %(created_from_us)s AND first_us < %(created_until_us)s
            ORDER BY block DESC) AS walk
        CROSS JOIN LATERAL ({_candidates(status, by_user=by_user, bounds=f"{_BELOW} AND {_IN_BLOCK}", also=_IN_TIME)}
        ) AS in_block
        ORDER BY block DESC, sequence DESC LIMIT %(limit)s"""
    else:
        found = _candidates(status, by_user=by_user, bounds=_BELOW, also="true")
    return _with_values(found)


def list_by_merging(status: str) -> str:
    """Returns a statement that lists the orders of `user_id` with this status, which must not be Completed.

    The statement reads the index of users and the index of the status side by side. So it takes little time for each
    order, but it can read all orders of the user and all orders with the status.
    """
    found = " UNION ALL ".join(
        f"""(SELECT orders.sequence FROM orders JOIN {table} ON {table}.sequence = orders.sequence
        WHERE {_OF_USER} AND orders.{_BELOW} AND {table}.{_BELOW} AND {place}
        ORDER BY orders.sequence DESC LIMIT %(limit)s)"""
        for table, place in _PLACES[status]
    )
    return f"SELECT sequence FROM ({found}) AS found {_NEWEST}"


def list_these() -> str:
    """Returns a statement that lists the orders whose `sequences` are given."""
    return _with_values("SELECT unnest(%(sequences)s::bigint[]) AS sequence")


def _with_values(found: str) -> str:
    """A statement that returns the orders with the sequences that the query `found` selects, as JSON."""
    return f"""
SELECT coalesce(json_agg({STORED_ORDER} ORDER BY orders.sequence DESC), '[]')::text
FROM ({found}) AS newest {ITS_ORDER.format(table="newest")} {JOINED}"""


def _candidates(status: str | None, *, by_user: bool, bounds: str, also: str) -> str:
    """Selects the newest sequences within these bounds. `also` is another condition, on the columns of `orders`."""
    if by_user:
        check = "" if status is None else f" AND EXISTS ({_has_status(status)})"
        return f"SELECT sequence FROM orders WHERE {_OF_USER} AND {bounds} AND {also}{check} {_NEWEST}"
    if status is None:
        return f"SELECT sequence FROM orders WHERE {bounds} AND {also} {_NEWEST}"
    found = " UNION ALL ".join(
        f"({_in_table(table, place, bounds=bounds, also=also)})" for table, place in _PLACES[status]
    )
    return f"SELECT sequence FROM ({found}) AS found {_NEWEST}"


def _in_table(table: str, place: str, *, bounds: str, also: str) -> str:
    """Selects the newest sequences in this part of a table."""
    if also == "true":
        return f"SELECT sequence FROM {table} WHERE {place} AND {bounds} {_NEWEST}"
    return f"""SELECT sequence FROM (
        SELECT sequence FROM {table} WHERE {place} AND {bounds} ORDER BY sequence DESC) AS listed
        CROSS JOIN LATERAL (SELECT FROM orders WHERE orders.sequence = listed.sequence AND {also} OFFSET 0) AS matching
        {_NEWEST}"""


def _has_status(status: str) -> str:
    """Selects a row if the order has this status."""
    return " UNION ALL ".join(
        f"SELECT FROM {table} WHERE {table}.sequence = orders.sequence AND {place} OFFSET 0"
        if len(_PLACES[status]) == 1
        else f"(SELECT FROM {table} WHERE {table}.sequence = orders.sequence AND {place} OFFSET 0)"
        for table, place in _PLACES[status]
    )
