"""The SQL statements that list orders. Constants and pure functions."""

from models.sqlite.statements import READY, STORED_ORDER, WAITING

BLOCK_BITS = 11
"""A block is 2 ** BLOCK_BITS = 2,048 orders with consecutive sequences. Its number is `sequence >> BLOCK_BITS`. The
indexes of orders by user and by time begin with it: see `models/sqlite/schema.py`."""

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
    """Returns a statement that selects the newest `:limit` orders with a sequence below `:before`, newest first.

    `status`: only orders with this status, unless it is None. `by_user`: only orders of `:user_id`. `by_time`: only
    orders created at or after `:created_from_us` and before `:created_until_us`.
    """
    if by_user or by_time:
        positions = _search_blocks(status, by_user=by_user, by_time=by_time)
    elif status is None:
        positions = (
            "SELECT sequence AS position FROM orders WHERE sequence < :before ORDER BY position DESC LIMIT :limit"
        )
    else:
        of_each_index = " UNION ALL ".join(
            f"""SELECT * FROM (
        SELECT sequence AS position FROM orders INDEXED BY {index} AND sequence < :before
        ORDER BY position DESC LIMIT :limit)"""
            for index in _INDEXES[status]
        )
        positions = f"{of_each_index} ORDER BY position DESC LIMIT :limit"
    # Sorts the sequences before it reads the rows, because sorting whole rows takes twice as long.
    return f"""
SELECT json_group_array({STORED_ORDER}) FROM ({positions}) CROSS JOIN orders ON orders.sequence = position"""


def _search_blocks(status: str | None, *, by_user: bool, by_time: bool) -> str:
    """Returns a query for the sequences of the newest `:limit` matching orders. It searches the newest block first.

    SQLite runs the recursive query as a priority queue of blocks and orders, highest `position` first
    (https://www.sqlite.org/lang_with.html#controlling_depth_first_versus_breadth_first_search_of_a_tree_using_order_by).
    The `position` of an order is its sequence. The `position` of a block is higher than the sequences of its orders.
    When SQLite takes a block from the queue, it adds the matching orders of the block, and the next lower block, to the
    queue. After `:limit` orders, the query ends, so lower blocks are not read.
    """
    # Each pair is a query for the sequences of a block's matching orders, and the same condition for a single order.
    filters = []
    if by_user:
        filters.append((_OF_USER_IN_BLOCK, "orders.user_id = :user_id"))
    if status is not None:
        at = 0 if status in _RARE else len(filters)
        filters.insert(at, (_WITH_STATUS_IN_BLOCK[status], f"orders.status = '{status}'"))
    if by_time:
        created = "orders.created_us >= :created_from_us AND +orders.created_us < :created_until_us"
        filters.append((_CREATED_IN_BLOCK, created))
    # All orders that match the first filter are read, so the first filter should match few orders.
    [(first, _), *others] = filters
    # The unary plus prevents SQLite from using an index for these conditions.
    also = "".join(f" AND EXISTS ({in_block}) AND +{condition}" for in_block, condition in others)
    return f"""
    WITH RECURSIVE walk(position, block) AS (
        SELECT :before, min(:before - 1, coalesce(max(sequence), 0)) >> {BLOCK_BITS} FROM orders
        UNION ALL
        SELECT block << {BLOCK_BITS}, block - 1 FROM walk WHERE block > 0
        UNION ALL
        SELECT orders.sequence, NULL FROM walk CROSS JOIN orders ON orders.sequence IN ({first})
        WHERE +orders.sequence < :before{also}
        ORDER BY 1 DESC)
    SELECT position FROM walk WHERE block IS NULL LIMIT :limit"""
