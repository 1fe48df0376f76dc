"""The SQL statements that list orders. Constants and pure functions."""

from models.sqlite.statements import READY, STORED_ORDER, WAITING

BLOCK_BITS = 11
"""Orders whose sequences differ only in this many lowest bits form a block. Indexes of the schema use this number."""

# The indexes that contain the orders of each status.
_INDEXES = {
    "Pending": (f"orders_pending WHERE {READY}", f"orders_waiting WHERE {WAITING}"),
    "Processing": ("orders_processing WHERE status = 'Processing'",),
    "Completed": ("orders_completed WHERE status = 'Completed'",),
    "Failed": ("orders_failed WHERE status = 'Failed'",),
    "Cancelled": ("orders_cancelled WHERE status = 'Cancelled'",),
}
_RARE = ("Processing", "Failed", "Cancelled")
_IN_BLOCK = f"sequence >> {BLOCK_BITS} = block"
_OF_USER_IN_BLOCK = f"SELECT sequence FROM orders INDEXED BY orders_user WHERE {_IN_BLOCK} AND user_id = :user_id"
_CREATED_IN_BLOCK = f"""
    SELECT sequence FROM orders INDEXED BY orders_created
    WHERE {_IN_BLOCK} AND created_us >= :created_from_us AND created_us < :created_until_us"""
_WITH_STATUS_IN_BLOCK = {
    status: " UNION ALL ".join(
        f"""
    SELECT sequence FROM orders INDEXED BY {index}
        AND sequence BETWEEN block << {BLOCK_BITS} AND (block << {BLOCK_BITS} | (1 << {BLOCK_BITS}) - 1)"""
        for index in indexes
    )
    for status, indexes in _INDEXES.items()
}


def list_orders(status: str | None, *, by_user: bool, by_time: bool) -> str:
    """Selects the newest `:limit` orders with a sequence below `:before` and this status, if not None. Newest first.

    `by_user`: only orders of `:user_id`. `by_time`: only orders created at or after `:created_from_us` and before
    `:created_until_us`.
    """
    if by_user or by_time:
        places = _search_blocks(status, by_user=by_user, by_time=by_time)
    elif status is None:
        places = "SELECT sequence AS place FROM orders WHERE sequence < :before ORDER BY place DESC LIMIT :limit"
    else:
        of_each_index = " UNION ALL ".join(
            f"""SELECT * FROM (
        SELECT sequence AS place FROM orders INDEXED BY {index} AND sequence < :before
        ORDER BY place DESC LIMIT :limit)"""
            for index in _INDEXES[status]
        )
        places = f"{of_each_index} ORDER BY place DESC LIMIT :limit"
    # The sequences first, because sorting whole rows takes twice as long.
    return f"""
SELECT json_group_array({STORED_ORDER}) FROM ({places}) CROSS JOIN orders ON orders.sequence = place"""


def _search_blocks(status: str | None, *, by_user: bool, by_time: bool) -> str:
    """Selects the sequences of matching orders, from the newest block to the oldest, and stops after `:limit` orders.

    The recursive query is a priority queue, highest `place` first
    (https://www.sqlite.org/lang_with.html#controlling_depth_first_versus_breadth_first_search_of_a_tree_using_order_by).
    An order's place is its sequence. A block's place is higher than the sequences of its orders. Processing a block
    adds its matching orders and the next lower block. After `:limit` orders, the search stops and reads no lower block.
    """
    # Each pair is a query for the sequences of a block's matching orders, and the same condition for a single order.
    filters = []
    if by_user:
        filters.append((_OF_USER_IN_BLOCK, "orders.user_id = :user_id"))
    if status is not None:
        position = 0 if status in _RARE else len(filters)
        filters.insert(position, (_WITH_STATUS_IN_BLOCK[status], f"orders.status = '{status}'"))
    if by_time:
        created = "orders.created_us >= :created_from_us AND +orders.created_us < :created_until_us"
        filters.append((_CREATED_IN_BLOCK, created))
    # All orders that match the first filter are read, so the first filter should match few orders.
    [(first, _), *others] = filters
    # The unary plus prevents SQLite from using an index for these conditions.
    also = "".join(f" AND EXISTS ({in_block}) AND +{condition}" for in_block, condition in others)
    return f"""
    WITH RECURSIVE walk(place, block) AS (
        SELECT :before, min(:before - 1, coalesce(max(sequence), 0)) >> {BLOCK_BITS} FROM orders
        UNION ALL
        SELECT block << {BLOCK_BITS}, block - 1 FROM walk WHERE block > 0
        UNION ALL
        SELECT orders.sequence, NULL FROM walk CROSS JOIN orders ON orders.sequence IN ({first})
        WHERE +orders.sequence < :before{also}
        ORDER BY 1 DESC)
    SELECT place FROM walk WHERE block IS NULL LIMIT :limit"""
