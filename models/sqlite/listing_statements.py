"""The SQL statements that list orders. Constants and pure functions."""

from collections.abc import Sequence
from typing import NamedTuple

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


class _Direction(NamedTuple):
    """How a listing is sorted, as SQL. `follows` compares a sequence with one that the listing contains earlier.

    The place of a block or a chunk is that of its first sequence if `edge` is 0. If `edge` is 1, it is the place of the
    sequence after its last one. So the listing reaches this place before it reaches an order of the block.
    """

    sort: str
    follows: str
    edge: int


_NEWEST_FIRST = _Direction("DESC", "<", 1)
_OLDEST_FIRST = _Direction("ASC", ">", 0)


def list_orders(status: str | None, *, by_user: bool, by_time: bool, oldest_first: bool = False) -> str:
    """Returns a statement that selects the first `:limit` orders after the sequence `:last`, newest or oldest first.

    If `status` is not None, the statement selects only orders with this status. If `by_user` is true, it selects only
    orders of `:user_id`. If `by_time` is true, it selects only orders that were created at or after `:created_from_us`
    and before `:created_until_us`.
    """
    direction = _OLDEST_FIRST if oldest_first else _NEWEST_FIRST
    first = f"ORDER BY position {direction.sort} LIMIT :limit"
    if by_user or by_time or status in _MASKS:
        positions = _search_blocks(status, direction, by_user=by_user, by_time=by_time)
    elif status is None:
        positions = f"SELECT sequence AS position FROM orders WHERE sequence {direction.follows} :last {first}"
    else:
        of_each_index = " UNION ALL ".join(
            f"""SELECT * FROM (
        SELECT sequence AS position FROM orders INDEXED BY {index} AND sequence {direction.follows} :last
        {first})"""
            for index in _INDEXES[status]
        )
        positions = f"{of_each_index} {first}"
    # Sorts the sequences before it reads the rows, because sorting whole rows takes twice as long.
    return f"""
SELECT json_group_array({STORED_ORDER}) FROM ({positions}) CROSS JOIN orders ON orders.sequence = position"""


def _search_blocks(status: str | None, direction: _Direction, *, by_user: bool, by_time: bool) -> str:
    """Returns a query for the sequences of the first `:limit` matching orders. Searches one block after the other.

    SQLite runs the recursive query as a priority queue: it takes the entry with the highest `position` first, or with
    the lowest if the listing is oldest first
    (https://www.sqlite.org/lang_with.html#controlling_depth_first_versus_breadth_first_search_of_a_tree_using_order_by).
    The entries are orders, chunks and blocks. The `position` of an order is its sequence. SQLite takes a chunk or a
    block before its orders: see `_Direction`. When SQLite takes a block from the queue, it adds the next block that can
    contain matching orders. If an index finds the matching orders of the block, it also adds these orders; otherwise,
    it adds the chunks of the block. When SQLite takes a chunk, it adds the matching orders of the chunk. After `:limit`
    orders, the query ends, so further blocks are not read.

    In the entry of a block, `mask` has a bit for each chunk that can contain matching orders. In the entry of a chunk,
    `mask` is 0; in the entry of an order, it is NULL. `block` is NULL in the entries of chunks and orders.
    """
    mask, in_block, conditions = str(_ALL_CHUNKS), [], [f"orders.sequence {direction.follows} :last"]
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
    sort, follows, edge = direction
    if status in _RARE and not by_time:
        # Searches only the blocks that contain orders of this status.
        next_order = f"SELECT sequence >> {BLOCK_BITS} FROM orders INDEXED BY {_INDEXES[status][0]} AND sequence"
        after = f"(walk.block + {1 - edge} << {BLOCK_BITS}) - {1 - edge}"
        first, following = (
            f"{next_order} {follows} {earlier} ORDER BY sequence {sort} LIMIT 1" for earlier in (":last", after)
        )
    else:
        block_of_last = f"(:last >> {BLOCK_BITS}) {'+' if edge else '-'} 1"
        first, following = (
            f"SELECT block FROM {table} WHERE {' AND '.join([f'block {follows} {earlier}', *in_block])} "
            f"ORDER BY block {sort} LIMIT 1"
            for earlier in (block_of_last, "walk.block")
        )
    next_block = f"""SELECT blocks.block + {edge} << {BLOCK_BITS}, blocks.block, {mask}
        FROM walk CROSS JOIN blocks ON blocks.block = ({following})
        WHERE walk.block IS NOT NULL"""
    return f"""
    WITH RECURSIVE walk(position, block, mask) AS (
        SELECT block + {edge} << {BLOCK_BITS}, block, {mask} FROM blocks
        WHERE block = ({first})
        UNION ALL
        {next_block}
        UNION ALL
        {_orders_of_block(status, direction, by_user=by_user, conditions=conditions)}
        ORDER BY 1 {sort})
    SELECT position FROM walk WHERE mask IS NULL LIMIT :limit"""


def _orders_of_block(status: str | None, direction: _Direction, *, by_user: bool, conditions: Sequence[str]) -> str:
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
    edge, other_edge = direction.edge, 1 - direction.edge
    chunk = f"(block << {BLOCK_BITS - CHUNK_BITS}) + column1"
    return f"""SELECT {chunk} + {edge} << {CHUNK_BITS}, NULL, 0
        FROM walk CROSS JOIN (VALUES {_CHUNK_NUMBERS})
        WHERE block IS NOT NULL AND mask >> column1 & 1
            AND ({chunk} + {other_edge} << {CHUNK_BITS}) - {other_edge} {direction.follows} :last
        UNION ALL
        SELECT orders.sequence, NULL, NULL
        FROM walk CROSS JOIN orders
            ON orders.sequence BETWEEN position - {edge << CHUNK_BITS} AND position + {other_edge << CHUNK_BITS} - 1
        WHERE mask = 0{matching}"""
