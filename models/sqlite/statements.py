"""The store's SQL statements, except those that list orders. Constants.

A batch is one JSON parameter (https://www.sqlite.org/json1.html#jeach), and a result is one JSON value: see
`models/wire.py`. A Pending order without `due_us` is ready. A Pending order with `due_us` waits; when that time
has passed, MAKE_READY sets `due_us` to NULL.
"""

from models.measurements import MAX_AHEAD_S, MAX_INTERVALS
from models.order import ERASED_USER, MAX_COUNTED_WAITING
from models.transactions.history import MAX_RECORDED_ATTEMPTS

# Returns the metadata as a text, exactly as it is stored. If the text is not JSON, calls json() to raise an error.
_ORDER = """json_array(sequence, order_id, user_id, json(item_ids), total_amount,
    iif(json_valid(metadata) IS 0, json(metadata), metadata),
    {status}, {attempts}, {claims}, error, created_us, processed_us, due_us, trace_headers)"""
STORED_ORDER = _ORDER.format(status="status", attempts="attempts", claims="claims")
_CLAIMED_ORDER = _ORDER.format(status="'Processing'", attempts="attempts + 1", claims="claims + 1")
READY = "status = 'Pending' AND due_us IS NULL"
WAITING = "status = 'Pending' AND due_us IS NOT NULL"
_NEXT_DUE = f"(SELECT min(due_us) FROM orders WHERE {WAITING})"

_INSERT = """
INSERT INTO orders (
    order_id, user_id, item_ids, total_amount{columns}, status, attempts, claims, created_us, claimed_after_us)
SELECT {values}, ?, ?, ?, ?, ?
FROM json_each(?) WHERE true
ON CONFLICT (order_id) DO NOTHING"""
# For orders as `models/sqlite/packed_orders.py` encodes them. To split a string takes less time than to parse an array,
# and CAST reads only the number at the beginning of a string.
INSERT_PACKED = _INSERT.format(
    columns="",
    values="""CAST(value AS INTEGER), CAST(substr(value, instr(value, ',') + 1) AS INTEGER),
    substr(value, instr(value, '[')), ~CAST(substr(value, instr(value, '-')) AS INTEGER)""",
)
# A path such as '$[0]' takes less time than a number, which SQLite converts to a path for each order.
_FIELDS = "value->>'$[0]', value->>'$[1]', value->>'$[2]', value->>'$[3]'"
# Separate statements, because each field that a statement reads from the JSON costs time.
INSERT_WITH_METADATA = _INSERT.format(columns=", metadata", values=f"{_FIELDS}, value->>'$[4]'")
INSERT_WITH_ALL_FIELDS = _INSERT.format(
    columns=", metadata, trace_headers", values=f"{_FIELDS}, value->>'$[4]', value->>'$[5]'"
)

# CROSS JOIN looks up the ids in their order in the JSON. SQLite would put the ids of `IN (SELECT …)` in a table first.
FIND = f"""
SELECT json_group_array({STORED_ORDER}) FROM json_each(?) CROSS JOIN orders ON order_id = value"""

HAS_READY = f"SELECT EXISTS (SELECT 1 FROM orders WHERE {READY}), {_NEXT_DUE}"

NEXT_READY = f"""
SELECT json_group_array({_CLAIMED_ORDER}), {_NEXT_DUE} FROM (
    SELECT * FROM orders WHERE {READY} ORDER BY sequence LIMIT ?)"""

CLAIM = f"""
UPDATE orders SET status = 'Processing', attempts = attempts + 1, claims = claims + 1,
    claimed_after_us = ? - created_us
WHERE {READY} AND sequence BETWEEN ? AND ?"""

MAKE_READY = f"""
UPDATE orders SET due_us = NULL WHERE sequence IN (
    SELECT sequence FROM orders WHERE {WAITING} AND due_us <= ? ORDER BY due_us, sequence LIMIT ?)"""

# Variants of NEXT_READY, CLAIM and MAKE_READY that skip the orders whose sequences are in the first parameter. These
# orders are damaged, so the conditions must read only indexes.
_WITH_SKIPPED = "WITH skipped AS (SELECT value FROM json_each(?))"
_NOT_SKIPPED = "sequence NOT IN skipped"

NEXT_READY_EXCEPT = f"""
{_WITH_SKIPPED}
SELECT json_group_array({_CLAIMED_ORDER}), (
    SELECT due_us FROM orders WHERE {WAITING} AND {_NOT_SKIPPED} ORDER BY due_us LIMIT 1) FROM (
    SELECT * FROM orders WHERE sequence IN (
        SELECT sequence FROM orders WHERE {READY} AND {_NOT_SKIPPED} ORDER BY sequence LIMIT ?) ORDER BY sequence)"""

CLAIM_EXCEPT = f"""
{_WITH_SKIPPED}
UPDATE orders SET status = 'Processing', attempts = attempts + 1, claims = claims + 1,
    claimed_after_us = ? - created_us
WHERE sequence IN (SELECT sequence FROM orders WHERE {READY} AND {_NOT_SKIPPED} AND sequence BETWEEN ? AND ?)"""

MAKE_READY_EXCEPT = f"""
{_WITH_SKIPPED}
UPDATE orders SET due_us = NULL WHERE sequence IN (
    SELECT sequence FROM orders WHERE {WAITING} AND {_NOT_SKIPPED} AND due_us <= ?
    ORDER BY due_us, sequence LIMIT ?)"""

CLAIM_CANDIDATES = f"""
{_WITH_SKIPPED}
SELECT json_group_array(sequence) FROM (
    SELECT * FROM (
        SELECT sequence FROM orders WHERE {READY} AND {_NOT_SKIPPED} ORDER BY sequence LIMIT ?)
    UNION ALL
    SELECT * FROM (
        SELECT sequence FROM orders WHERE {WAITING} AND {_NOT_SKIPPED} AND due_us <= ?
        ORDER BY due_us, sequence LIMIT ?))"""

READ_LISTED = f"""
SELECT json_group_array({_CLAIMED_ORDER}) FROM orders WHERE sequence IN (SELECT value FROM json_each(?))"""

CLAIM_LISTED = """
UPDATE orders SET status = 'Processing', due_us = NULL, attempts = attempts + 1, claims = claims + 1
WHERE sequence IN (SELECT value FROM json_each(?))"""

# The claim is a fencing token: an outcome applies only if its claim is the latest claim and the order is Processing.
# SQLite parses the JSON again for each use of a field of `outcome`, so the statements use each field only once if
# possible.
_RUNNING = """
FROM (SELECT value->>0 AS sequence, value->>1 AS claim, value->>3 AS error, value->>4 AS due_us, value->>5 AS ending,
    value->>6 AS counts
    FROM json_each(?)) AS outcome {join}
WHERE orders.sequence = outcome.sequence AND orders.claims = outcome.claim AND orders.status = 'Processing'"""

SUM_UP = f"SELECT count(*), sum(max(0, ? - orders.created_us)) {_RUNNING.format(join='CROSS JOIN orders')}"

# To select orders by a range of sequences takes less than half of the time that a list of sequences takes.
_RUN = "sequence BETWEEN ? AND ? AND claims = ? AND status = 'Processing'"

SUM_UP_RUN = f"SELECT count(*), sum(max(0, ? - created_us)) FROM orders WHERE {_RUN}"

# The sequences of the orders that the statements above and below change.
RUNNING = f"SELECT json_group_array(orders.sequence) {_RUNNING.format(join='CROSS JOIN orders')}"

RUNNING_IN_RUN = f"SELECT json_group_array(sequence) FROM orders WHERE {_RUN}"

COMPLETE_RUN = f"UPDATE orders SET status = 'Completed', error = NULL, processed_us = max(?, created_us) WHERE {_RUN}"

COMPLETE = f"""
UPDATE orders SET status = 'Completed', error = NULL, processed_us = max(?, created_us)
{_RUNNING.format(join="")}"""

FAIL = f"""
UPDATE orders SET status = 'Failed', error = outcome.error, processed_us = max(?, created_us)
{_RUNNING.format(join="")}"""

# If the outcome has no `due_us`, the order gets the same error and attempts as before the attempt.
MAKE_PENDING = f"""
UPDATE orders SET
    status = 'Pending',
    due_us = outcome.due_us,
    error = iif(outcome.due_us IS NULL, orders.error, outcome.error),
    attempts = attempts - (outcome.due_us IS NULL OR NOT outcome.counts)
{_RUNNING.format(join="")}"""

RECORD_ATTEMPTS = f"""
INSERT INTO attempts (sequence, claim, number, started_us, ended_us, ending, error)
SELECT orders.sequence, orders.claims, orders.attempts, created_us + claimed_after_us,
    max(?, coalesce(created_us + claimed_after_us, 0)), outcome.ending, outcome.error
{_RUNNING.format(join="CROSS JOIN orders")}"""

# A transaction adds at most one attempt for an order, so at most one older attempt must be deleted.
DELETE_OLD_ATTEMPTS = f"""
DELETE FROM attempts WHERE (sequence, claim) IN (
    SELECT value, (
        SELECT claim FROM attempts WHERE sequence = value ORDER BY claim DESC LIMIT 1 OFFSET {MAX_RECORDED_ATTEMPTS})
    FROM json_each(?))"""

HISTORY = """
SELECT json_array(status, attempts, created_us + claimed_after_us, processed_us, (
    SELECT json_group_array(json_array(number, started_us, ended_us, ending, error)) FROM (
        SELECT * FROM attempts WHERE attempts.sequence = orders.sequence ORDER BY claim)))
FROM orders WHERE order_id = ?"""

# For charts

SAVE_MEASUREMENTS = """
INSERT OR REPLACE INTO measurements (interval_s, begin_s, process, measures)
SELECT value->>0, value->>1, value->>2, value->>3 FROM json_each(?)"""
DELETE_MEASUREMENTS = f"""
DELETE FROM measurements WHERE begin_s < ? - interval_s * {MAX_INTERVALS} OR begin_s > ? + {MAX_AHEAD_S}"""
MEASUREMENTS = """
SELECT json_group_array(json_array(interval_s, begin_s, process, measures)) FROM (
    SELECT * FROM measurements WHERE begin_s >= ? ORDER BY interval_s, begin_s, process)"""

INTERRUPTED = """
SELECT json_group_array(json_array(sequence, claims, attempts))
FROM blocks INDEXED BY blocks_processing
    CROSS JOIN orders ON orders.sequence BETWEEN block << 11 AND (block << 11 | 2047)
WHERE processing > 0 AND +status = 'Processing'"""

INTERRUPTED_BLOCKS = """
SELECT json_group_array(json_array(block, processing, processing_chunks)) FROM blocks WHERE processing > 0"""

INTERRUPTED_LISTED = """
SELECT json_group_array(json_array(sequence, claims, attempts)) FROM orders
WHERE sequence IN (SELECT value FROM json_each(?)) AND status = 'Processing'"""

CANCEL = """
UPDATE orders SET status = 'Cancelled', due_us = NULL WHERE sequence IN (SELECT value FROM json_each(?))"""

RETRY_BY_REQUEST = """
UPDATE orders SET status = 'Pending', attempts = 0, error = NULL, processed_us = NULL
WHERE sequence IN (SELECT value FROM json_each(?))"""

MAKE_DUE_NOW = "UPDATE orders SET due_us = NULL WHERE sequence IN (SELECT value FROM json_each(?))"

_NEXT_TO_RETRY = """
SELECT json_group_array(json_array(sequence, order_id, user_id)) FILTER (WHERE is_selected), max(sequence), count(*),
    (SELECT max(sequence) FROM orders)
FROM (
    SELECT sequence, order_id, user_id,
        (:error IS NULL OR instr(error, :error)) AND created_us >= :created_from_us AND created_us < :created_until_us
            AND user_id != {erased} AS is_selected
    FROM orders INDEXED BY {index} AND sequence > :after AND sequence <= :last ORDER BY sequence LIMIT :limit)"""
_FAILED_INDEX, _WAITING_INDEX = "orders_failed WHERE status = 'Failed'", f"orders_waiting WHERE {WAITING}"
NEXT_FAILED = _NEXT_TO_RETRY.format(index=_FAILED_INDEX, erased=ERASED_USER)
NEXT_WAITING = _NEXT_TO_RETRY.format(index=_WAITING_INDEX, erased=ERASED_USER)

# The sequences of the orders that the two statements above examine.
_RETRY_CANDIDATES = """
SELECT json_group_array(sequence) FROM (
    SELECT sequence FROM orders INDEXED BY {index} AND sequence > ? AND sequence <= ? ORDER BY sequence LIMIT ?)"""
FAILED_CANDIDATES = _RETRY_CANDIDATES.format(index=_FAILED_INDEX)
WAITING_CANDIDATES = _RETRY_CANDIDATES.format(index=_WAITING_INDEX)

STATE_FACTOR = 65_521
"""The value of `totals.state` is always a random multiple of this number. If a crash interrupted the write of this
value, the result is probably not a multiple of this number, which shows that the value is wrong."""

CHANGE_STATE = f"""
UPDATE totals SET previous_state = state, state = (random() >> 16) * {STATE_FACTOR}"""

# Also changes `totals.state`: see `models/sqlite/files/leftover_wal.py`.
ADD_TO_TOTALS = f"""{CHANGE_STATE}, pending = pending + ?, processing = processing + ?, completed = completed + ?,
    failed = failed + ?, cancelled = cancelled + ?, processing_us = processing_us + ?,
    archived_completed = archived_completed + ?, archived_cancelled = archived_cancelled + ?,
    archived_processing_us = archived_processing_us + ?"""

# The rows of `models/sqlite/blocks.py`.
CHANGE_BLOCKS = """
INSERT INTO blocks (block, first_us, last_us, completed, processing, processing_chunks)
SELECT value->>0, value->>1, value->>2, value->>3, value->>4, value->>5 FROM json_each(?) WHERE true
ON CONFLICT (block) DO UPDATE SET first_us = min(first_us, excluded.first_us), last_us = max(last_us, excluded.last_us),
    completed = completed | excluded.completed, processing = processing + excluded.processing,
    processing_chunks = iif(
        processing + excluded.processing, processing_chunks | excluded.processing_chunks, 0)"""

LAST_SEQUENCE = "SELECT coalesce(max(sequence), 0) FROM orders"

CLOCK_STEP = "SELECT clock_step_us FROM totals"

SET_CLOCK_STEP = "UPDATE totals SET clock_step_us = ?"

SHIFT_DUE_TIMES = f"UPDATE orders SET due_us = due_us + ? WHERE {WAITING}"

BRING_FORWARD = f"UPDATE orders SET due_us = ? WHERE {WAITING} AND due_us > ?"

SET_PAUSED = "UPDATE totals SET paused = ?"

_TOTALS = f"""
SELECT pending, processing, completed, failed, cancelled, processing_us, paused,
    (SELECT count(*) FROM (SELECT 1 FROM orders WHERE {WAITING} LIMIT {MAX_COUNTED_WAITING})),
    archived_completed + archived_cancelled,"""

TOTALS = f"""{_TOTALS} sequence, created_us
FROM totals LEFT JOIN (
    SELECT sequence, created_us FROM (
        SELECT * FROM (SELECT sequence, created_us FROM orders WHERE {READY} ORDER BY sequence LIMIT 1)
        UNION ALL
        SELECT * FROM (
            SELECT sequence, created_us FROM orders WHERE {WAITING} AND due_us <= ? ORDER BY due_us, sequence LIMIT 1))
    ORDER BY sequence LIMIT 1)"""

# Does not read the oldest Pending order, which can be damaged.
TOTALS_WITHOUT_OLDEST = f"{_TOTALS} NULL, NULL FROM totals"

NEWEST_ID = "SELECT order_id FROM orders ORDER BY sequence DESC LIMIT 1"

OLDEST_ID = "SELECT order_id FROM orders ORDER BY sequence LIMIT 1"

HIGHEST_ID = "SELECT max(order_id) FROM orders"
