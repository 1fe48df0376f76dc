"""The SQL statements that archive and erase orders. Constants. See `models/sqlite/statements.py`."""

from models.order import ERASED_USER
from models.sqlite.blocks import BLOCK_BITS, CHUNK_BITS, CHUNKS
from models.sqlite.statements import STORED_ORDER

_LAST = f"(1 << {BLOCK_BITS}) - 1"
_IN_BLOCK = f"sequence BETWEEN block << {BLOCK_BITS} AND (block << {BLOCK_BITS} | {_LAST})"
_LISTED = "IN (SELECT value FROM json_each(?))"

# Reads the first block after `:after` that can contain expired orders. The newest order is never expired, because
# SQLite would give its sequence to the next order, and cursors and attempts identify orders by their sequences.
FIND_EXPIRED = f"""
WITH first(block) AS (
    SELECT block FROM blocks WHERE block >= (:after + 1) >> {BLOCK_BITS} AND first_us < :before_us
        AND (completed OR EXISTS (
            SELECT 1 FROM orders INDEXED BY orders_cancelled WHERE status = 'Cancelled' AND {_IN_BLOCK}))
    ORDER BY block LIMIT 1)
SELECT (SELECT block FROM first), (
    SELECT json_group_array({STORED_ORDER}) FROM (
        SELECT orders.* FROM first CROSS JOIN orders ON {_IN_BLOCK} AND sequence > :after
        WHERE +status IN ('Completed', 'Cancelled') AND ifnull(processed_us, created_us) < :before_us
            AND sequence < (SELECT max(sequence) FROM orders)
        ORDER BY sequence LIMIT :limit))"""

# The parameter has the sequence and the user of each order.
COUNT_UNCHANGED = """
SELECT count(*) FROM json_each(?) CROSS JOIN orders ON sequence = value->>0
WHERE user_id = value->>1 AND +status IN ('Completed', 'Cancelled')"""

ADD_FINGERPRINTS = """
INSERT INTO fingerprints (order_id, fingerprint) SELECT value->>0, value->>1 FROM json_each(?)"""

# Also takes orders as `models/sqlite/packed_orders.py` encodes them: CAST reads only the number at the beginning.
FIND_FINGERPRINTS = """
SELECT json_group_array(json_array(order_id, fingerprint))
FROM json_each(?) CROSS JOIN fingerprints ON order_id = CAST(value AS INTEGER)"""

HAS_FINGERPRINTS = "SELECT EXISTS (SELECT 1 FROM fingerprints)"

DELETE_ATTEMPTS = f"DELETE FROM attempts WHERE sequence {_LISTED}"

DELETE_ORDERS = f"DELETE FROM orders WHERE sequence {_LISTED}"

# `processing` and `processing_chunks` stay: archived orders are not Processing.
UPDATE_BLOCKS = f"""
UPDATE blocks SET (first_us, last_us, completed) = (
    SELECT min(created_us), max(created_us),
        sum(DISTINCT iif(status = 'Completed', 1 << (sequence >> {CHUNK_BITS} & {CHUNKS - 1}), 0))
    FROM orders NOT INDEXED WHERE {_IN_BLOCK})
WHERE block {_LISTED} AND EXISTS (SELECT 1 FROM orders NOT INDEXED WHERE {_IN_BLOCK})"""

DELETE_BLOCKS = f"""
DELETE FROM blocks WHERE block {_LISTED} AND NOT EXISTS (SELECT 1 FROM orders NOT INDEXED WHERE {_IN_BLOCK})"""

SET_MEMBER = """
INSERT INTO archives (id, member) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET member = excluded.member"""

LAST_MEMBER = "SELECT member FROM archives WHERE id = ?"

ERASE_ORDERS = f"""
UPDATE orders SET user_id = {ERASED_USER}, metadata = NULL, error = NULL, trace_headers = NULL
WHERE sequence {_LISTED}"""

ERASE_ATTEMPTS = f"UPDATE attempts SET error = NULL WHERE sequence {_LISTED}"
