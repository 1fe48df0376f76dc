"""The store's SQL. Pure text.

A batch comes as one JSON parameter (https://www.sqlite.org/json1.html#jeach), and goes as one JSON value. A Pending
order without a due time is ready; one with a due time waits for it, and is made ready once it is due.
"""

_COLUMNS = """json_array(sequence, order_id, user_id, json(item_ids), total_amount, metadata, status, attempts, claims,
    error, created_us, processed_us)"""
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
SELECT json_group_array({_COLUMNS}), max(sequence), {_NEXT_DUE} FROM (
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
SELECT json_group_array(sequence), count(*), max(sequence) FROM (
    SELECT sequence FROM orders WHERE status = 'Failed' AND sequence > ? ORDER BY sequence LIMIT ?)"""

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
