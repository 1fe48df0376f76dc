"""The store's SQL. Pure text.

A batch comes as one JSON parameter (https://www.sqlite.org/json1.html#jeach), and goes as one JSON value. A Pending
order without a due time is ready; one with a due time waits for it, and is made ready once it is due.
"""

_ROW = """json_array(sequence, order_id, user_id, json(item_ids), total_amount, metadata, {status}, {attempts},
    {claims}, error, created_us, processed_us)"""
_COLUMNS = _ROW.format(status="status", attempts="attempts", claims="claims")
_CLAIMED = _ROW.format(status="'Processing'", attempts="attempts + 1", claims="claims + 1")
_READY = "status = 'Pending' AND due_us IS NULL"
_WAITING = "status = 'Pending' AND due_us IS NOT NULL"
_NEXT_DUE = f"(SELECT min(due_us) FROM orders WHERE {_WAITING})"

INSERT = """
INSERT INTO orders (order_id, user_id, item_ids, total_amount, metadata, status, attempts, claims, created_us)
SELECT value->>0, value->>1, value->>2, value->>3, value->>4, ?, ?, ?, ?
FROM json_each(?) WHERE true
ON CONFLICT (order_id) DO NOTHING"""

FIND = f"""
SELECT json_group_array({_COLUMNS}) FROM orders WHERE order_id IN (SELECT value FROM json_each(?))"""

HAS_READY = f"SELECT EXISTS (SELECT 1 FROM orders WHERE {_READY}), {_NEXT_DUE}"

NEXT_READY = f"""
SELECT json_group_array({_CLAIMED}), max(sequence), {_NEXT_DUE} FROM (
    SELECT * FROM orders WHERE {_READY} ORDER BY sequence LIMIT ?)"""

CLAIM = f"""
UPDATE orders SET status = 'Processing', attempts = attempts + 1, claims = claims + 1
WHERE {_READY} AND sequence <= ?"""

MAKE_READY = f"""
UPDATE orders SET due_us = NULL WHERE sequence IN (
    SELECT sequence FROM orders WHERE {_WAITING} AND due_us <= ? ORDER BY due_us, sequence LIMIT ?)"""

# Fenced: an outcome counts only for the claim that is still running. What is taken out of an outcome is parsed anew
# wherever it is named, so it is named once where it can be.
_RUNNING = """
FROM (SELECT value->>0 AS sequence, value->>1 AS claim, value->>3 AS error, value->>4 AS due_us FROM json_each(?))
    AS outcome {join}
WHERE orders.sequence = outcome.sequence AND orders.claims = outcome.claim AND orders.status = 'Processing'"""

SUM_UP = f"SELECT count(*), sum(max(0, ? - orders.created_us)) {_RUNNING.format(join='CROSS JOIN orders')}"

# Attempts that stand together end for less than half of what it costs to take them from a list. The plus keeps SQLite
# from looking through all that is Processing.
_RUN = "sequence BETWEEN ? AND ? AND claims = ? AND +status = 'Processing'"

SUM_UP_RUN = f"SELECT count(*), sum(max(0, ? - created_us)) FROM orders WHERE {_RUN}"

COMPLETE_RUN = f"UPDATE orders SET status = 'Completed', error = NULL, processed_us = max(?, created_us) WHERE {_RUN}"

COMPLETE = f"""
UPDATE orders SET status = 'Completed', error = NULL, processed_us = max(?, created_us)
{_RUNNING.format(join="")}"""

FAIL = f"""
UPDATE orders SET status = 'Failed', error = outcome.error, processed_us = max(?, created_us)
{_RUNNING.format(join="")}"""

# An order that is given back keeps the error of the attempt before, and what it cost.
PUT_BACK = f"""
UPDATE orders SET
    status = 'Pending',
    due_us = outcome.due_us,
    error = iif(outcome.due_us IS NULL, orders.error, outcome.error),
    attempts = attempts - (outcome.due_us IS NULL)
{_RUNNING.format(join="")}"""

INTERRUPTED = """
SELECT json_group_array(json_array(sequence, claims, attempts)) FROM orders WHERE status = 'Processing'"""

CANCEL = """
UPDATE orders SET status = 'Cancelled', due_us = NULL WHERE sequence IN (SELECT value FROM json_each(?))"""

RETRY = """
UPDATE orders SET status = 'Pending', attempts = 0, error = NULL, processed_us = NULL
WHERE sequence IN (SELECT value FROM json_each(?))"""

NEXT_FAILED = """
SELECT json_group_array(json_array(sequence, order_id, user_id)) FROM (
    SELECT sequence, order_id, user_id FROM orders
    WHERE status = 'Failed' AND sequence > ? ORDER BY sequence LIMIT ?)"""

ADD_TO_TOTALS = """
UPDATE totals SET pending = pending + ?, processing = processing + ?, completed = completed + ?, failed = failed + ?,
    cancelled = cancelled + ?, processing_us = processing_us + ?"""

TOTALS = f"""
SELECT pending, processing, completed, failed, cancelled, processing_us, (
    SELECT created_us FROM (
        SELECT * FROM (SELECT sequence, created_us FROM orders WHERE {_READY} ORDER BY sequence LIMIT 1)
        UNION ALL
        SELECT * FROM (SELECT sequence, created_us FROM orders WHERE {_WAITING} ORDER BY sequence LIMIT 1))
    ORDER BY sequence LIMIT 1) FROM totals"""

BLOCK_BITS = 11
"""Orders whose sequences differ in this many last bits alone are a block; the schema's indexes say the same."""

# Where the orders of each status are; of some there are few.
_WITH_STATUS = {
    "Pending": (f"orders_pending WHERE {_READY}", f"orders_waiting WHERE {_WAITING}"),
    "Processing": ("orders_processing WHERE status = 'Processing'",),
    "Completed": ("orders_completed WHERE status = 'Completed'",),
    "Failed": ("orders_failed WHERE status = 'Failed'",),
    "Cancelled": ("orders_cancelled WHERE status = 'Cancelled'",),
}
_FEW = ("Processing", "Failed", "Cancelled")
_IN_BLOCK = f"sequence >> {BLOCK_BITS} = block"
_OF_USER_IN_BLOCK = f"SELECT sequence FROM orders INDEXED BY orders_user WHERE {_IN_BLOCK} AND user_id = :user_id"
_CREATED_IN_BLOCK = f"""
    SELECT sequence FROM orders INDEXED BY orders_created
    WHERE {_IN_BLOCK} AND created_us >= :created_from_us AND created_us < :created_until_us"""
_WITH_STATUS_IN_BLOCK = {
    status: " UNION ALL ".join(
        f"""
    SELECT sequence FROM orders INDEXED BY {place}
        AND sequence BETWEEN block << {BLOCK_BITS} AND (block << {BLOCK_BITS} | (1 << {BLOCK_BITS}) - 1)"""
        for place in places
    )
    for status, places in _WITH_STATUS.items()
}


def list_orders(status: str | None, *, by_user: bool, by_time: bool) -> str:
    """The newest `:limit` orders below the sequence `:before`, newest first, of a status or of all.

    Also of `:user_id` alone, created from `:created_from_us` on and before `:created_until_us` alone.
    """
    if by_user or by_time:
        found = _walk(status, by_user=by_user, by_time=by_time)
    elif status is None:
        found = "SELECT * FROM orders WHERE sequence < :before"
    else:
        found = " UNION ALL ".join(
            f"""SELECT * FROM (
        SELECT * FROM orders INDEXED BY {place} AND sequence < :before ORDER BY sequence DESC LIMIT :limit)"""
            for place in _WITH_STATUS[status]
        )
    return f"""
SELECT json_group_array({_COLUMNS}) FROM (
    {found} ORDER BY sequence DESC LIMIT :limit)"""


def _walk(status: str | None, *, by_user: bool, by_time: bool) -> str:
    """A queue of places, the highest first (https://www.sqlite.org/lang_with.html#controlling_depth_first_versus_breadth_first_search_of_a_tree_using_order_by).

    A block's place is above its orders, and brings the orders that are wanted of it and the block below it into the
    queue; an order's place is its sequence. Who takes the first ones does not look into the blocks below them.
    """
    wanted = []
    if by_user:
        wanted.append((_OF_USER_IN_BLOCK, "orders.user_id = :user_id"))
    if status is not None:
        place = 0 if status in _FEW else len(wanted)
        wanted.insert(place, (_WITH_STATUS_IN_BLOCK[status], f"orders.status = '{status}'"))
    if by_time:
        created = "orders.created_us >= :created_from_us AND +orders.created_us < :created_until_us"
        wanted.append((_CREATED_IN_BLOCK, created))
    # The first says which orders are looked at, so it should be what few have.
    [(first, _), *others] = wanted
    # A plus keeps SQLite from choosing an index for what is to be looked up last.
    also = "".join(f" AND EXISTS ({in_block}) AND +{is_wanted}" for in_block, is_wanted in others)
    return f"""
    WITH RECURSIVE walk(place, block) AS (
        SELECT :before, min(:before - 1, coalesce(max(sequence), 0)) >> {BLOCK_BITS} FROM orders
        UNION ALL
        SELECT block << {BLOCK_BITS}, block - 1 FROM walk WHERE block > 0
        UNION ALL
        SELECT orders.sequence, NULL FROM walk CROSS JOIN orders ON orders.sequence IN ({first})
        WHERE +orders.sequence < :before{also}
        ORDER BY 1 DESC)
    SELECT orders.* FROM (SELECT place FROM walk WHERE block IS NULL LIMIT :limit)
    CROSS JOIN orders ON orders.sequence = place"""
