"""The SQL statements that list orders. Constants and pure functions.

Each statement selects the first `limit` orders that follow the sequence `last`, newest or oldest first. An oldest-first
statement selects only sequences up to `final`.
"""

from typing import NamedTuple

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
_IN_BLOCK = f"sequence >= block << {BLOCK_BITS} AND sequence < (block + 1) << {BLOCK_BITS}"
_IN_TIME = "created_us >= %(created_from_us)s AND created_us < %(created_until_us)s"
_OF_USER = "user_id = %(user_id)s"


class Direction(NamedTuple):
    """How a listing is sorted, as SQL. `bounds` is the condition for a sequence, and `block_bounds` for a block."""

    sort: str
    bounds: str
    block_bounds: str

    @property
    def first(self) -> str:
        """The end of a query that selects the first sequences."""
        return f"ORDER BY sequence {self.sort} LIMIT %(limit)s"

    def bounds_of(self, table: str) -> str:
        """The condition for a sequence of this table."""
        return self.bounds.replace("sequence", f"{table}.sequence")


NEWEST_FIRST = Direction("DESC", "sequence < %(last)s", f"block <= %(last)s::bigint >> {BLOCK_BITS}")
OLDEST_FIRST = Direction(
    "ASC",
    "sequence > %(last)s AND sequence <= %(final)s",
    f"block >= %(last)s::bigint >> {BLOCK_BITS} AND block <= %(final)s::bigint >> {BLOCK_BITS}",
)

MANY_ORDERS = 1_000
"""The orders of a user with more orders than this are listed by `list_by_merging`, if the listing has a status."""

BEGIN_MERGE = "SET LOCAL enable_mergejoin = on; SET LOCAL enable_nestloop = off"
END_MERGE = "SET LOCAL enable_mergejoin = off; SET LOCAL enable_nestloop = on"
"""The settings of a transaction before and after it executes `list_by_merging`."""


def has_many_orders(direction: Direction) -> str:
    """Returns a statement that finds out whether `user_id` has more than MANY_ORDERS orders within the bounds."""
    return f"""
SELECT count(*) > {MANY_ORDERS} FROM (
    SELECT FROM orders WHERE {_OF_USER} AND {direction.bounds} LIMIT {MANY_ORDERS + 1}) AS first"""


def list_orders(status: str | None, direction: Direction, *, by_user: bool, by_time: bool) -> str:
    """Returns a statement that lists orders.

    If `status` is not None, the statement selects only orders with this status. If `by_user` is true, it selects only
    orders of `user_id`. If `by_time` is true, it selects only orders that were created at or after `created_from_us`
    and before `created_until_us`.
    """
    sort, bounds, block_bounds = direction
    if by_time:
        # Walks through the blocks that contain orders of this time, until enough orders are found. With a join and a
        # sort by block and sequence, PostgreSQL would read all these blocks if its statistics made it expect few of
        # them. A function in the select list that returns rows is called after the sort, block by block.
        in_block = _candidates(status, direction, by_user=by_user, bounds=f"{bounds} AND {_IN_BLOCK}", also=_IN_TIME)
        found = f"""SELECT unnest(ARRAY({in_block})) AS sequence FROM (
            SELECT DISTINCT block FROM blocks
            WHERE {block_bounds} AND last_us >= %(created_from_us)s AND first_us < %(created_until_us)s) AS walk
        ORDER BY block {sort} LIMIT %(limit)s"""
    else:
        found = _candidates(status, direction, by_user=by_user, bounds=bounds, also="true")
    return list_these(direction, found)


def list_by_merging(status: str, direction: Direction) -> str:
    """Returns a statement that lists the orders of `user_id` with this status, which must not be Completed.

    The statement reads the index of users and the index of the status side by side. So it takes little time for each
    order, but it can read all orders of the user and all orders with the status.
    """
    found = " UNION ALL ".join(
        f"""(SELECT orders.sequence FROM orders JOIN {table} ON {table}.sequence = orders.sequence
        WHERE {_OF_USER} AND {direction.bounds_of("orders")} AND {direction.bounds_of(table)} AND {place}
        ORDER BY orders.sequence {direction.sort} LIMIT %(limit)s)"""
        for table, place in _PLACES[status]
    )
    return f"SELECT sequence FROM ({found}) AS found {direction.first}"


def list_these(direction: Direction, found: str = "SELECT unnest(%(sequences)s::bigint[]) AS sequence") -> str:
    """Returns a statement that lists the orders whose sequences `found` selects, by default those in `sequences`."""
    return f"""
SELECT coalesce(json_agg({STORED_ORDER} ORDER BY orders.sequence {direction.sort}), '[]')::text
FROM ({found}) AS listed {ITS_ORDER.format(table="listed")} {JOINED}"""


def _candidates(status: str | None, direction: Direction, *, by_user: bool, bounds: str, also: str) -> str:
    """Selects the first sequences within these bounds. `also` is another condition, on the columns of `orders`."""
    first = direction.first
    if by_user:
        check = "" if status is None else f" AND EXISTS ({_has_status(status)})"
        return f"SELECT sequence FROM orders WHERE {_OF_USER} AND {bounds} AND {also}{check} {first}"
    if status is None:
        return f"SELECT sequence FROM orders WHERE {bounds} AND {also} {first}"
    found = " UNION ALL ".join(
        f"({_in_table(table, place, direction, bounds=bounds, also=also)})" for table, place in _PLACES[status]
    )
    return f"SELECT sequence FROM ({found}) AS found {first}"


def _in_table(table: str, place: str, direction: Direction, *, bounds: str, also: str) -> str:
    """Selects the first sequences in this part of a table."""
    if also == "true":
        return f"SELECT sequence FROM {table} WHERE {place} AND {bounds} {direction.first}"
    return f"""SELECT sequence FROM (
        SELECT sequence FROM {table} WHERE {place} AND {bounds} ORDER BY sequence {direction.sort}) AS candidates
        CROSS JOIN LATERAL (
            SELECT FROM orders WHERE orders.sequence = candidates.sequence AND {also} OFFSET 0) AS matching
        {direction.first}"""


def _has_status(status: str) -> str:
    """Selects a row if the order has this status."""
    return " UNION ALL ".join(
        f"SELECT FROM {table} WHERE {table}.sequence = orders.sequence AND {place} OFFSET 0"
        if len(_PLACES[status]) == 1
        else f"(SELECT FROM {table} WHERE {table}.sequence = orders.sequence AND {place} OFFSET 0)"
        for table, place in _PLACES[status]
    )
