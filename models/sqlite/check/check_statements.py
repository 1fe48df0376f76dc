"""The SQL statements that check and repair the file. Constants."""

from models.order import ERASED_USER, Status

_COUNTS = ", ".join(f"count(*) FILTER (WHERE status = '{status}')" for status in Status)
# Sums amounts in two parts, because SQLite does not add integers of more than 64 bits. NOT INDEXED reads the table
# itself, because an index can lack some of its rows.
RECOUNT = f"""
SELECT {_COUNTS}, coalesce(sum(processed_us - created_us) FILTER (WHERE status = 'Completed'), 0),
    coalesce(sum(total_amount >> 32), 0), coalesce(sum(total_amount & 0xFFFFFFFF), 0)
FROM orders NOT INDEXED"""

TOTALS_NAMES = ("pending", "processing", "completed", "failed", "cancelled", "processing_us")
"""The columns of `totals` that are recounted, in the order in which RECOUNT returns them."""

TOTALS = f"SELECT {', '.join(TOTALS_NAMES)} FROM totals"

SET_TOTALS = f"UPDATE totals SET {', '.join(f'{name} = ?' for name in TOTALS_NAMES)}"

_NOT_ARCHIVED = tuple(
    f"{name} - archived_{name}" if name in ("completed", "cancelled", "processing_us") else name
    for name in TOTALS_NAMES
)
NOT_ARCHIVED_TOTALS = f"SELECT {', '.join(_NOT_ARCHIVED)} FROM totals"

ADD_ARCHIVED = """
UPDATE totals SET completed = completed + archived_completed, cancelled = cancelled + archived_cancelled,
    processing_us = processing_us + archived_processing_us"""

# An erased order has a fingerprint, too.
ARCHIVED = """
SELECT archived_completed + archived_cancelled, (
    SELECT count(*) FROM fingerprints
    WHERE NOT EXISTS (SELECT 1 FROM orders WHERE orders.order_id = fingerprints.order_id)) FROM totals"""

KEPT_FINGERPRINTS = f"""
SELECT orders.order_id FROM fingerprints CROSS JOIN orders USING (order_id) WHERE user_id != {ERASED_USER}
UNION ALL
SELECT order_id FROM orders NOT INDEXED
WHERE user_id = {ERASED_USER} AND NOT EXISTS (
    SELECT 1 FROM fingerprints WHERE fingerprints.order_id = orders.order_id)"""

_STATUSES = ", ".join(f"'{status}'" for status in Status)
INVALID_ORDERS = f"""
SELECT order_id FROM orders NOT INDEXED
WHERE typeof(user_id) <> 'integer' OR typeof(total_amount) <> 'integer' OR typeof(created_us) <> 'integer'
    OR NOT json_valid(item_ids) OR json_type(item_ids) <> 'array'
    OR (metadata NOT NULL AND NOT json_valid(metadata)) OR status NOT IN ({_STATUSES})"""

# The rows that `models/sqlite/blocks.py` maintains.
COMPUTED_BLOCKS = """
SELECT sequence >> 11 AS block, min(created_us) AS first_us, max(created_us) AS last_us,
    sum(DISTINCT iif(status = 'Completed', 1 << (sequence >> 6 & 31), 0)) AS completed,
    sum(status = 'Processing') AS processing,
    sum(DISTINCT iif(status = 'Processing', 1 << (sequence >> 6 & 31), 0)) AS processing_chunks
FROM orders NOT INDEXED GROUP BY 1"""

# `completed` and `processing_chunks` can have more bits than necessary.
WRONG_BLOCKS = f"""
WITH computed AS ({COMPUTED_BLOCKS})
SELECT computed.block FROM computed LEFT JOIN blocks USING (block)
WHERE (computed.first_us, computed.last_us, computed.completed, computed.processing, computed.processing_chunks)
    IS NOT (blocks.first_us, blocks.last_us, blocks.completed & computed.completed, blocks.processing,
        blocks.processing_chunks & computed.processing_chunks)
UNION ALL
SELECT block FROM blocks
WHERE NOT EXISTS (SELECT 1 FROM orders WHERE sequence BETWEEN block << 11 AND (block << 11 | 2047))"""

INSERT_BLOCKS = f"""
INSERT INTO blocks (block, first_us, last_us, completed, processing, processing_chunks) {COMPUTED_BLOCKS}"""

SCHEMA = """
SELECT type, name, sql FROM damaged.sqlite_schema WHERE sql NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
ORDER BY rowid"""

COPY_ROWS = "INSERT INTO main.{table} SELECT * FROM damaged.{table} NOT INDEXED"

READ_TOTALS = "SELECT * FROM totals"

INSERT_TOTALS = "INSERT INTO main.totals VALUES ({values})"

# It is not known how many of the archived orders were Cancelled, so all of them are counted as Completed.
INSERT_NEW_TOTALS = """
INSERT INTO main.totals (
    id, pending, processing, completed, failed, cancelled, processing_us, paused, clock_step_us, archived_completed,
    archived_cancelled, archived_processing_us)
SELECT 1, 0, 0, 0, 0, 0, 0, 0, 0, count(*), 0, 0 FROM main.fingerprints
WHERE order_id NOT IN (SELECT order_id FROM main.orders)"""
