"""The SQL statements that list orders. Constants and pure functions."""

from collections.abc import Sequence

from models.sqlite.blocks import BLOCK_BITS, CHUNK_BITS, CHUNKS
from models.sqlite.statements import READY, STORED_ORDER, WAITING

# The indexes that contain the orders of each status. No index contains Completed and Processing orders: lists of them
# read only the chunks that can contain such orders.
_INDEXES = {
    "Pending": (f"orders_pending WHERE {READY}", f"orders_waiting WHERE {WAITING}"),
    "Failed": ("orders_failed WHERE status = 'Failed'",),
    "Cancelled": ("orders_cancelled WHERE status = 'Cancelled'",),
}
_MASKS = {"Completed": "completed", "Processing": "processing_chunks"}
"""The columns of `blocks` that have a bit for each chunk that can contain orders of this status."""
_RARE = ("Failed", "Cancelled")
# The unary plus removes the type of the column, so that SQLite can search the index by this expression.
_OF_USER_IN_BLOCK = f"""
        SELECT sequence FROM orders INDEXED BY orders_user
        WHERE sequence >> {BLOCK_BITS} = +block AND user_id = :user_id"""
_WITH_STATUS_IN_BLOCK = {
    status: " UNION ALL ".join(
        f"""
        SELECT sequence FROM orders INDEXED BY {index}
            AND sequence BETWEEN block << {BLOCK_BITS} AND (block << {BLOCK_BITS} | (1 << {BLOCK_BITS}) - 1)"""
        for index in indexes
    )
    for status, indexes in _INDEXES.items()
}
_ALL_CHUNKS = (1 << CHUNKS) - 1
_CHUNK_NUMBERS = ", ".join(f"({number})" for number in range(CHUNKS))


def list_orders(status: str | None, *, by_user: bool, by_time: bool) -> str:
    """Returns a statement that selects the newest `:limit` orders with a sequence below `:before`, newest first.

    If `status` is not None, the statement selects only orders with this status. If `by_user` is true, it selects only
    orders of `:user_id`. If `by_time` is true, it selects only orders that were created at or after `:created_from_us`
    and before `:created_until_us`.
    """
    if by_user or by_time or status in _MASKS:
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
    """Returns a query for the sequences of the newest `:limit` matching orders. Searches the newest block first.

    SQLite runs the recursive query as a priority queue: it takes the entry with the highest `position` first
    (https://www.sqlite.org/lang_with.html#controlling_depth_first_versus_breadth_first_search_of_a_tree_using_order_by).
    The entries are orders, chunks and blocks. The `position` of an order is its sequence. The `position` of a chunk or
    a block is higher than the sequences of its orders. When SQLite takes a block from the queue, it adds the next lower
    block that can contain matching orders. If an index finds the matching orders of the block, it also adds these
    orders; otherwise, it adds the chunks of the block. When SQLite takes a chunk, it adds the matching orders of the
    chunk. After `:limit` orders, the query ends, so lower blocks are not read.

    In the entry of a block, `mask` has a bit for each chunk that can contain matching orders. In the entry of a chunk,
    `mask` is 0; in the entry of an order, it is NULL. `block` is NULL in the entries of chunks and orders.
    """
    mask, in_block, conditions = str(_ALL_CHUNKS), [], ["orders.sequence < :before"]
    if status is not None:
        conditions.append(f"orders.status = '{status}'")
    if by_user:
        conditions.append("orders.user_id = :user_id")
    table = "blocks"
    if status in _MASKS:
        mask = _MASKS[status]
        in_block.append("processing > 0" if status == "Processing" else mask)
    if status == "Processing":
        table = "blocks INDEXED BY blocks_processing"
    if by_time:
        in_block += ["first_us < :created_until_us", "last_us >= :created_from_us"]
        conditions += ["orders.created_us >= :created_from_us", "orders.created_us < :created_until_us"]
    matching_block = " AND ".join(["block < {limit}", *in_block])
    newest = f"SELECT block FROM {table} WHERE {matching_block} ORDER BY block DESC LIMIT 1"
    if in_block:
        next_block = f"""SELECT blocks.block + 1 << {BLOCK_BITS}, blocks.block, {mask}
        FROM walk CROSS JOIN blocks ON blocks.block = ({newest.format(limit="walk.block")})
        WHERE walk.block IS NOT NULL"""
    else:
        next_block = f"SELECT block << {BLOCK_BITS}, block - 1, mask FROM walk WHERE block > 0"
    return f"""
    WITH RECURSIVE walk(position, block, mask) AS (
        SELECT block + 1 << {BLOCK_BITS}, block, {mask} FROM blocks
        WHERE block = ({newest.format(limit=f"(:before - 1 >> {BLOCK_BITS}) + 1")})
        UNION ALL
        {next_block}
        UNION ALL
        {_orders_of_block(status, by_user=by_user, conditions=conditions)}
        ORDER BY 1 DESC)
    SELECT position FROM walk WHERE mask IS NULL LIMIT :limit"""


def _orders_of_block(status: str | None, *, by_user: bool, conditions: Sequence[str]) -> str:
    """The terms of the recursive query that add the orders of a block, if the orders fulfil all conditions."""
    # The unary plus prevents SQLite from using an index for these conditions.
    matching = "".join(f" AND +{condition}" for condition in conditions)
    finds = [_WITH_STATUS_IN_BLOCK[status]] if status in _WITH_STATUS_IN_BLOCK else []
    if by_user:
        finds.insert(len(finds) if status in _RARE else 0, _OF_USER_IN_BLOCK)
    if finds:
        # All orders that the first index finds are read, so this index should find few orders. If another index finds
        # no order, no orders are read.
        if status in _MASKS:
            matching = f" AND mask >> (orders.sequence >> {CHUNK_BITS} & {CHUNKS - 1}) & 1{matching}"
        also = "".join(f" AND EXISTS ({find})" for find in finds[1:])
        return f"""SELECT orders.sequence, NULL, NULL FROM walk CROSS JOIN orders ON orders.sequence IN ({finds[0]})
        WHERE block IS NOT NULL{also}{matching}"""
    return f"""SELECT (block << {BLOCK_BITS - CHUNK_BITS}) + column1 + 1 << {CHUNK_BITS}, NULL, 0
        FROM walk CROSS JOIN (VALUES {_CHUNK_NUMBERS})
        WHERE block IS NOT NULL AND mask >> column1 & 1
            AND (block << {BLOCK_BITS - CHUNK_BITS}) + column1 << {CHUNK_BITS} < :before
        UNION ALL
        SELECT orders.sequence, NULL, NULL
        FROM walk CROSS JOIN orders ON orders.sequence BETWEEN position - {1 << CHUNK_BITS} AND position - 1
        WHERE mask = 0{matching}"""
