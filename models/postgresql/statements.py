"""The store's SQL statements, except those that list orders. Constants.

A batch is one parameter, JSON or an array, and a result is one row, with JSON for its orders: see `models/wire.py`.
Parts of a statement (WITH) all see the tables as they were before the statement:
https://www.postgresql.org/docs/current/queries-with.html#QUERIES-WITH-MODIFYING

A connection plans each statement once, perhaps while a table is empty, and must not read all of the table later.
So no statement leaves the order of a join to PostgreSQL. Rows are either found by `sequence = ANY (array)`, or by a
subquery with LATERAL for each row of another table; OFFSET 0 prevents that the subquery becomes a join:
https://www.postgresql.org/docs/current/queries-table-expressions.html#QUERIES-LATERAL

A row of `work` without `node` and `due_us` is ready. A row with `due_us` waits; when that time has passed, MAKE_READY
sets `due_us` to NULL.
"""

from models.measurements import MAX_AHEAD_S, MAX_INTERVALS
from models.order import ERASED_USER, MAX_COUNTED_WAITING
from models.transactions.history import MAX_RECORDED_ATTEMPTS

STATUS = """CASE WHEN work.sequence IS NULL THEN
        CASE ends.status WHEN 'c' THEN 'Completed' WHEN 'f' THEN 'Failed' ELSE 'Cancelled' END
    WHEN work.node IS NULL THEN 'Pending' ELSE 'Processing' END"""
STORED_ORDER = f"""json_build_array(orders.sequence, order_id, user_id, item_ids::json, total_amount, metadata,
    {STATUS}, coalesce(work.attempts, ends.attempts), coalesce(work.claims, ends.claims),
    coalesce(work.error, ends.error), orders.created_us, ends.processed_us, work.due_us, trace_headers)"""
JOINED = """LEFT JOIN LATERAL (SELECT * FROM work WHERE work.sequence = orders.sequence OFFSET 0) AS work ON true
LEFT JOIN LATERAL (SELECT * FROM ends WHERE ends.sequence = orders.sequence OFFSET 0) AS ends ON true"""
ITS_ORDER = "CROSS JOIN LATERAL (SELECT * FROM orders WHERE orders.sequence = {table}.sequence OFFSET 0) AS orders"
BLOCK_BITS = 11
"""Orders whose sequences differ only in this number of lowest bits form a block. See the table `blocks`."""
READY = "node IS NULL AND due_us IS NULL"
_NEXT_DUE = "(SELECT min(due_us) FROM work WHERE due_us IS NOT NULL)"
_IS_DUE = f"coalesce({_NEXT_DUE} <= %(database_us)s, false)"
_PAUSED = "(SELECT paused FROM meta)"
_ANNOUNCED = "(SELECT archiving_announced FROM meta)"
# The time that must be recorded for a change of an order: its creation time plus the time that has really passed since
# then. `steps` has the steps of the wall clock, and `bounds` the first sequence after each step (see models/clock.py).
_OWN_US = "(%(now_us)s + (%(steps)s::bigint[])[width_bucket(sequence, %(bounds)s::bigint[])])"

# Before the first call of nextval, `last_value` is the number that this call returns
# (https://www.postgresql.org/docs/current/functions-sequence.html).
LAST_SEQUENCE = "SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM order_sequences"

FIND = f"""
SELECT coalesce(json_agg({STORED_ORDER}), '[]')::text FROM orders {JOINED}
WHERE order_id = ANY (%(order_ids)s::bigint[])"""

# New orders

# Both `place` and the sequences number the orders in the order of the batch. But the rows are inserted in the order of
# their ids: if two servers insert the same ids in different orders, each waits for the other. Until archiving has been
# announced, no order can be archived (see ANNOUNCE in `archiving_statements.py`), so no fingerprint is searched for.
INSERT = f"""
WITH new AS MATERIALIZED (
    SELECT nextval('order_sequences') AS sequence, place, (v->0)::bigint AS order_id, (v->1)::bigint AS user_id,
        v->>2 AS item_ids, (v->3)::bigint AS total_amount, v->>4 AS metadata, v->>5 AS trace_headers
    FROM (SELECT v, place FROM jsonb_array_elements(%(orders)s::jsonb) WITH ORDINALITY AS element(v, place)
        ORDER BY place) AS ordered),
claim AS MATERIALIZED (
    SELECT node, CASE WHEN node IS NOT NULL THEN %(wall_us)s::bigint END AS claimed_us,
        (node IS NOT NULL)::integer AS claims
    FROM (SELECT CASE WHEN %(is_claim)s AND NOT {_PAUSED} AND NOT {_IS_DUE}
        AND NOT EXISTS (SELECT 1 FROM work WHERE {READY} AND sequence >= %(floor)s)
        THEN %(node)s::bigint END AS node) AS claiming),
stored AS (
    INSERT INTO orders (sequence, order_id, user_id, total_amount, created_us, item_ids, metadata, trace_headers)
    SELECT sequence, order_id, user_id, total_amount, %(wall_us)s, item_ids, metadata, trace_headers
    FROM new
    WHERE NOT {_ANNOUNCED} OR NOT EXISTS (SELECT FROM fingerprints WHERE fingerprints.order_id = new.order_id OFFSET 0)
    ORDER BY order_id, sequence
    ON CONFLICT (order_id) DO NOTHING RETURNING sequence),
working AS (
    INSERT INTO work (sequence, created_us, node, claimed_us, attempts, claims)
    SELECT sequence, %(wall_us)s, node, claimed_us, claims, claims
    FROM stored CROSS JOIN claim),
summary AS MATERIALIZED (SELECT count(*) AS inserted, min(sequence) AS first, max(sequence) AS last FROM stored),
dated AS (
    INSERT INTO blocks (block, node, first_us, last_us)
    SELECT block, %(node)s::bigint, %(wall_us)s::bigint, %(wall_us)s::bigint
    FROM summary CROSS JOIN generate_series(first >> {BLOCK_BITS}, last >> {BLOCK_BITS}) AS series(block)
    ON CONFLICT (block, node) DO UPDATE SET first_us = least(blocks.first_us, excluded.first_us),
        last_us = greatest(blocks.last_us, excluded.last_us))
SELECT (SELECT node IS NOT NULL FROM claim), inserted, {_NEXT_DUE}, first, CASE WHEN last - first + 1 > inserted
    THEN (SELECT json_agg(sequence ORDER BY sequence)::text FROM stored) END, {_ANNOUNCED}
FROM summary"""

# Attempts

MAKE_READY = """
WITH due AS MATERIALIZED (
    SELECT sequence FROM work WHERE due_us IS NOT NULL AND due_us <= %(database_us)s
    ORDER BY due_us, sequence LIMIT %(limit)s FOR UPDATE SKIP LOCKED),
ready AS (
    UPDATE work SET due_us = NULL WHERE sequence = ANY (ARRAY(SELECT sequence FROM due)) RETURNING sequence)
SELECT count(*), min(sequence) FROM ready"""

# `floor` is the lowest sequence that can be ready. Without it, the statement would read the index entries of orders
# that were claimed before. VACUUM can't remove these while any transaction on the server is older.
CLAIM = f"""
WITH next AS MATERIALIZED (
    SELECT sequence FROM work
    WHERE {READY} AND sequence >= %(floor)s AND NOT {_PAUSED} AND (%(even_if_due)s OR NOT {_IS_DUE})
    ORDER BY sequence LIMIT %(limit)s FOR UPDATE SKIP LOCKED),
claimed AS (
    UPDATE work SET node = %(node)s, attempts = attempts + 1, claims = claims + 1, claimed_us = {_OWN_US}
    WHERE sequence = ANY (ARRAY(SELECT sequence FROM next))
    RETURNING sequence, attempts, claims, error)
SELECT coalesce(json_agg(json_build_array(orders.sequence, order_id, user_id, item_ids::json, total_amount, metadata,
    'Processing', attempts, claims, error, created_us, NULL, NULL, trace_headers) ORDER BY orders.sequence),
    '[]')::text, {_NEXT_DUE}, {_PAUSED}, ({LAST_SEQUENCE})
FROM claimed {ITS_ORDER.format(table="claimed")}"""

# The claim and the node are a fencing token: an outcome applies only if its claim is the latest claim, and if the
# server that claimed the order still processes it. `sequences` must be sorted, and without repetition: the claim of the
# outcome for a row is then found by binary search.
_PLACE = "width_bucket(sequence, %(sequences)s::bigint[])"
_RUNNING = f"""sequence = ANY (%(sequences)s::bigint[]) AND claims = (%(claims)s::integer[])[{_PLACE}]
    AND coalesce(node, 0) = %(node)s"""
# The sequences of the attempts that the statement has ended. NULL stands for all attempts, and takes less time.
_IF_NOT_ALL = """CASE WHEN count(*) < cardinality(%(sequences)s::bigint[])
    THEN coalesce(json_agg(sequence), '[]')::text END"""

COMPLETE = f"""
WITH gone AS (
    DELETE FROM work WHERE {_RUNNING}
    RETURNING sequence, created_us, claimed_us, attempts, claims, greatest({_OWN_US}, created_us) AS processed_us),
ended AS (
    INSERT INTO ends (sequence, processed_us, claimed_us, attempts, claims, status)
    SELECT sequence, processed_us, claimed_us, attempts, claims, 'c' FROM gone)
SELECT count(*), coalesce(sum(processed_us - created_us), 0)::bigint, {_IF_NOT_ALL} FROM gone"""

# If the outcome has no `due_us`, the order gets the same error and attempts as before the attempt.
_OUTCOME = f"(%(outcomes)s::jsonb->({_PLACE} - 1))"
END = f"""
WITH attempt AS MATERIALIZED (
    SELECT sequence, created_us, claimed_us, attempts, claims, {_OUTCOME} AS outcome FROM work WHERE {_RUNNING}),
recorded AS (
    INSERT INTO attempts (sequence, claim, number, started_us, ended_us, ending, error)
    SELECT sequence, claims, attempts, claimed_us, greatest({_OWN_US}, claimed_us), outcome->>5, outcome->>3
    FROM attempt WHERE outcome->>5 IS NOT NULL),
gone AS (
    DELETE FROM work WHERE sequence = ANY (ARRAY(SELECT sequence FROM attempt WHERE outcome->>2 = 'Failed'))),
ended AS (
    INSERT INTO ends (sequence, processed_us, claimed_us, attempts, claims, status, error)
    SELECT sequence, greatest({_OWN_US}, created_us), claimed_us, attempts, claims, 'f', outcome->>3
    FROM attempt WHERE outcome->>2 = 'Failed'),
pending AS (
    UPDATE work SET node = NULL, due_us = ({_OUTCOME}->>4)::bigint,
        error = CASE WHEN {_OUTCOME}->>4 IS NULL THEN error ELSE {_OUTCOME}->>3 END,
        attempts = attempts - ({_OUTCOME}->>4 IS NULL OR NOT ({_OUTCOME}->>6)::boolean)::integer
    WHERE sequence = ANY (ARRAY(SELECT sequence FROM attempt WHERE outcome->>2 = 'Pending')))
SELECT count(*) FILTER (WHERE outcome->>2 = 'Failed'), count(*) FILTER (WHERE outcome->>2 = 'Pending'), {_IF_NOT_ALL}
FROM attempt"""

STATES = f"""
SELECT coalesce(json_agg(json_build_array(orders.sequence, coalesce(work.claims, ends.claims), {STATUS},
    coalesce(work.error, ends.error))), '[]')::text
FROM orders {JOINED} WHERE orders.sequence = ANY (%(sequences)s::bigint[])"""

DELETE_OLD_ATTEMPTS = f"""
DELETE FROM attempts WHERE sequence = ANY (%(sequences)s::bigint[]) AND claim <= (
    SELECT claim FROM attempts AS each WHERE each.sequence = attempts.sequence
    ORDER BY claim DESC LIMIT 1 OFFSET {MAX_RECORDED_ATTEMPTS})"""

HISTORY = f"""
SELECT json_build_array({STATUS}, coalesce(work.attempts, ends.attempts),
    CASE WHEN work.sequence IS NULL THEN ends.claimed_us ELSE work.claimed_us END, ends.processed_us, (
    SELECT coalesce(json_agg(json_build_array(number, started_us, ended_us, ending, error) ORDER BY claim), '[]')
    FROM attempts WHERE attempts.sequence = orders.sequence))::text
FROM orders {JOINED} WHERE order_id = %(order_id)s"""

# Commands of clients. The rows are locked in the order of their sequences, so that two servers do not wait for each
# other. https://www.postgresql.org/docs/current/sql-select.html#SQL-FOR-UPDATE-SHARE

CANCEL = """
WITH pending AS MATERIALIZED (
    SELECT sequence FROM work WHERE sequence = ANY (%(sequences)s::bigint[]) AND node IS NULL
    ORDER BY sequence FOR UPDATE),
gone AS (
    DELETE FROM work WHERE sequence = ANY (ARRAY(SELECT sequence FROM pending))
    RETURNING sequence, attempts, claims, error),
ended AS (
    INSERT INTO ends (sequence, attempts, claims, status, error)
    SELECT sequence, attempts, claims, 'x', error FROM gone)
SELECT coalesce(json_agg(sequence), '[]')::text FROM gone"""

_ORDER_OF_GONE = ITS_ORDER.format(table="gone")
RETRY_FAILED = f"""
WITH failed AS MATERIALIZED (
    SELECT sequence FROM ends WHERE sequence = ANY (%(sequences)s::bigint[]) AND status = 'f'
    ORDER BY sequence FOR UPDATE),
gone AS (
    DELETE FROM ends WHERE sequence = ANY (ARRAY(SELECT sequence FROM failed)) RETURNING sequence, claims),
working AS (
    INSERT INTO work (sequence, created_us, attempts, claims)
    SELECT orders.sequence, created_us, 0, claims FROM gone {_ORDER_OF_GONE})
SELECT coalesce(json_agg(sequence), '[]')::text FROM gone"""

MAKE_DUE_NOW = """
WITH waiting AS MATERIALIZED (
    SELECT sequence FROM work WHERE sequence = ANY (%(sequences)s::bigint[]) AND due_us IS NOT NULL
    ORDER BY sequence FOR UPDATE),
ready AS (
    UPDATE work SET due_us = NULL WHERE sequence = ANY (ARRAY(SELECT sequence FROM waiting)) RETURNING sequence)
SELECT coalesce(json_agg(sequence), '[]')::text FROM ready"""

_NEXT_TO_RETRY = """
SELECT coalesce(json_agg(json_build_array(sequence, order_id, user_id) ORDER BY sequence)
    FILTER (WHERE is_selected), '[]')::text, max(sequence), count(*), (SELECT last_value FROM order_sequences)
FROM (
    SELECT next.sequence, order_id, user_id,
        (%(error)s::text IS NULL OR strpos(next.error, %(error)s::text) > 0)
            AND orders.created_us >= %(created_from_us)s AND orders.created_us < %(created_until_us)s
            AND orders.user_id <> {erased} AS is_selected
    FROM (SELECT sequence, error FROM {table}
        WHERE {condition} AND sequence > %(after)s AND sequence <= %(last)s ORDER BY sequence LIMIT %(limit)s) AS next
    {its_order}) AS examined"""
_ORDER_OF_NEXT = ITS_ORDER.format(table="next")
NEXT_FAILED = _NEXT_TO_RETRY.format(
    table="ends", condition="status = 'f'", its_order=_ORDER_OF_NEXT, erased=ERASED_USER
)
NEXT_WAITING = _NEXT_TO_RETRY.format(
    table="work", condition="due_us IS NOT NULL", its_order=_ORDER_OF_NEXT, erased=ERASED_USER
)

SET_PAUSED = """
WITH before AS MATERIALIZED (SELECT paused FROM meta FOR UPDATE),
changed AS (
    UPDATE meta SET paused = %(paused)s, resumes = resumes + (NOT %(paused)s)::integer
    FROM before WHERE before.paused <> %(paused)s OR NOT %(paused)s)
SELECT paused <> %(paused)s FROM before"""

# Totals

ADD_TO_TOTALS = """
UPDATE totals SET pending = pending + %(pending)s, processing = processing + %(processing)s,
    completed = completed + %(completed)s, failed = failed + %(failed)s, cancelled = cancelled + %(cancelled)s,
    processing_us = processing_us + %(processing_us)s,
    archived_completed = archived_completed + %(archived_completed)s,
    archived_cancelled = archived_cancelled + %(archived_cancelled)s,
    archived_processing_us = archived_processing_us + %(archived_processing_us)s
WHERE node = %(node)s"""

TOTALS = f"""
SELECT sum(pending)::bigint, sum(processing)::bigint, sum(completed)::bigint, sum(failed)::bigint,
    sum(cancelled)::bigint, sum(processing_us)::bigint, {_PAUSED},
    (SELECT count(*) FROM (SELECT 1 FROM work WHERE due_us IS NOT NULL LIMIT {MAX_COUNTED_WAITING}) AS waiting),
    sum(archived_completed + archived_cancelled)::bigint,
    (SELECT json_build_array(sequence, created_us)::text FROM (
        SELECT * FROM (
            SELECT sequence, created_us FROM work WHERE {READY} AND sequence >= %(floor)s
            ORDER BY sequence LIMIT 1) AS ready
        UNION ALL
        SELECT * FROM (
            SELECT sequence, created_us FROM work WHERE due_us IS NOT NULL AND due_us <= %(database_us)s
            ORDER BY due_us, sequence LIMIT 1) AS waiting
        ORDER BY sequence LIMIT 1) AS oldest)
FROM totals"""

BRING_FORWARD = "UPDATE work SET due_us = %(database_us)s WHERE due_us > %(latest_us)s"

# For charts

# Two servers never save the same rows, so they do not wait for each other.
SAVE_MEASUREMENTS = """
INSERT INTO measurements (interval_s, begin_s, process, measures)
SELECT (v->>0)::integer, (v->>1)::bigint, v->>2, v->>3 FROM jsonb_array_elements(%(measurements)s::jsonb) AS element(v)
ON CONFLICT (interval_s, begin_s, process) DO UPDATE SET measures = excluded.measures"""
# Skips rows that another server is deleting.
DELETE_MEASUREMENTS = f"""
DELETE FROM measurements WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM measurements
    WHERE begin_s < %(now_s)s - interval_s * {MAX_INTERVALS} OR begin_s > %(now_s)s + {MAX_AHEAD_S}
    FOR UPDATE SKIP LOCKED))"""
MEASUREMENTS = """
SELECT coalesce(json_agg(json_build_array(interval_s, begin_s, process, measures)
    ORDER BY interval_s, begin_s, process), '[]')::text
FROM measurements WHERE begin_s >= %(since_s)s"""

DATABASE_US = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

# For probes

NEWEST_ID = "SELECT order_id FROM orders ORDER BY sequence DESC LIMIT 1"

SIZE = "SELECT pg_database_size(current_database())"
