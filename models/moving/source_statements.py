"""The SQL statements that read the SQLite file. Constants."""

# If the metadata is not JSON, `json` raises an error. The server also raises an error when it reads this order.
ORDERS = """
SELECT sequence, order_id, user_id, item_ids, total_amount, iif(json_valid(metadata) IS 0, json(metadata), metadata),
    status, attempts, claims, error, created_us, processed_us, due_us, claimed_after_us, trace_headers
FROM orders WHERE sequence > ? ORDER BY sequence"""
CLAIMS = 8
"""The position of the column `claims`."""
NEXT_ORDER = f"{ORDERS} LIMIT 1"

NEXT_SEQUENCE = "SELECT sequence FROM orders WHERE sequence > ? ORDER BY sequence LIMIT 1"

ATTEMPTS = """
SELECT sequence, claim, number, started_us, ended_us, ending, error
FROM attempts WHERE sequence > ? AND sequence <= ? ORDER BY sequence, claim"""

COUNT_ATTEMPTS = "SELECT count(*) FROM attempts"

# The counts are those of the orders that were not archived.
SUMMARY = """
SELECT state, paused, clock_step_us, processing_us, archived_completed, archived_cancelled, archived_processing_us,
    pending, processing, completed - archived_completed, failed, cancelled - archived_cancelled,
    (SELECT coalesce(max(sequence), 0) FROM orders)
FROM totals"""

FINGERPRINTS = "SELECT order_id, fingerprint FROM fingerprints ORDER BY order_id"
ARCHIVES = "SELECT id, member FROM archives"

# In two parts, because SQLite does not add integers of more than 64 bits.
SUM_FINGERPRINTS = """
SELECT count(*), coalesce(sum(order_id >> 32), 0), coalesce(sum(order_id & 4294967295), 0),
    coalesce(sum(fingerprint >> 32), 0), coalesce(sum(fingerprint & 4294967295), 0)
FROM fingerprints"""

CREATE_MARK = "CREATE TABLE moved (target TEXT NOT NULL, move TEXT NOT NULL, at_us INTEGER NOT NULL)"
INSERT_MARK = "INSERT INTO moved (target, move, at_us) VALUES (?, ?, ?)"
READ_MARK = "SELECT target, move FROM moved"
