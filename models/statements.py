"""The store's SQL. Pure text.

A batch comes as one JSON parameter (https://www.sqlite.org/json1.html#jeach), and goes as one JSON value.
"""

_COLUMNS = """json_array(sequence, order_id, user_id, json(item_ids), total_amount, metadata, status, attempts, claims,
    error, created_us, processed_us)"""

INSERT = """
INSERT INTO orders (order_id, user_id, item_ids, total_amount, metadata, status, attempts, claims, created_us)
SELECT value->>0, value->>1, value->>2, value->>3, value->>4, ?, ?, ?, ?
FROM json_each(?) WHERE true
ON CONFLICT (order_id) DO NOTHING"""

FIND = f"""
SELECT json_group_array({_COLUMNS}) FROM orders WHERE order_id IN (SELECT value FROM json_each(?))"""

NEXT_PENDING = f"""
SELECT json_group_array({_COLUMNS}), max(sequence) FROM (
    SELECT * FROM orders WHERE status = 'Pending' ORDER BY sequence LIMIT ?)"""

CLAIM = """
UPDATE orders SET status = 'Processing', attempts = attempts + 1, claims = claims + 1
WHERE status = 'Pending' AND sequence <= ?"""

# Fenced: an outcome counts only for the claim that is still running.
_RUNNING = """
FROM (SELECT value->>0 AS sequence, value->>1 AS claim, value->>2 AS status, value->>3 AS error FROM json_each(?))
    AS outcome {join}
WHERE orders.sequence = outcome.sequence AND orders.claims = outcome.claim AND orders.status = 'Processing'"""

COUNT_OUTCOMES = f"""
SELECT outcome.status, count(*), sum(max(0, ? - orders.created_us))
{_RUNNING.format(join="CROSS JOIN orders")} GROUP BY outcome.status"""

FINISH = f"""
UPDATE orders SET
    status = outcome.status,
    error = outcome.error,
    attempts = attempts - (outcome.status = 'Pending'),
    processed_us = CASE outcome.status WHEN 'Pending' THEN NULL ELSE max(?, created_us) END
{_RUNNING.format(join="")}"""

HAS_PENDING = "SELECT EXISTS (SELECT 1 FROM orders WHERE status = 'Pending')"

RECOVER = "UPDATE orders SET status = 'Pending' WHERE status = 'Processing'"

ADD_TO_TOTALS = """
UPDATE totals SET pending = pending + ?, processing = processing + ?, completed = completed + ?, failed = failed + ?,
    processing_us = processing_us + ?"""

TOTALS = """
SELECT pending, processing, completed, failed, cancelled, processing_us,
    (SELECT created_us FROM orders WHERE status = 'Pending' ORDER BY sequence LIMIT 1) FROM totals"""
