"""The store's SQL statements, except those that list orders. Constants.

A batch is one parameter, JSON or an array, and a result is one row, with JSON for its orders: see `models/wire.py`.
Parts of a statement (WITH) all see the tables as they were before the statement:
https://www.postgresql.org/docs/current/queries-with.html#QUERIES-WITH-MODIFYING

A row of `work` without `node` and `due_us` is ready. A row with `due_us` waits; when that time has passed, MAKE_READY
sets `due_us` to NULL.
"""

from models.history import MAX_RECORDED_ATTEMPTS

_STATUS = """CASE WHEN work.sequence IS NULL THEN
        CASE ends.status WHEN 'c' THEN 'Completed' WHEN 'f' THEN 'Failed' ELSE 'Cancelled' END
    WHEN work.node IS NULL THEN 'Pending' ELSE 'Processing' END"""
STORED_ORDER = f"""json_build_array(orders.sequence, order_id, user_id, item_ids::json, total_amount, metadata,
    {_STATUS}, coalesce(work.attempts, ends.attempts), coalesce(work.claims, ends.claims),
    coalesce(work.error, ends.error), orders.created_us, ends.processed_us, work.due_us, trace_headers)"""
JOINED = "LEFT JOIN work ON work.sequence = orders.sequence LEFT JOIN ends ON ends.sequence = orders.sequence"
READY = "node IS NULL AND due_us IS NULL"
_NEXT_DUE = "(SELECT min(due_us) FROM work WHERE due_us IS NOT NULL)"
_IS_DUE = "EXISTS (SELECT 1 FROM work WHERE due_us <= %(database_us)s)"
_PAUSED = "(SELECT paused FROM meta)"
# The time that must be recorded for a change of an order: its creation time plus the time that has really passed since
# then. `steps` has the steps of the wall clock, and `bounds` the first sequence after each step (see models/clock.py).
_OWN_US = "(%(now_us)s + (%(steps)s::bigint[])[width_bucket({sequence}, %(bounds)s::bigint[])])"

FIND = f"""
SELECT coalesce(json_agg({STORED_ORDER}), '[]')::text FROM orders {JOINED}
WHERE order_id = ANY (%(order_ids)s::bigint[])"""

# New orders

# `place` numbers the orders in the order of the batch, and so do the sequences. But the rows are inserted in the order
# of their ids: if two servers insert the same ids in different orders, each waits for the other.
INSERT = f"""
WITH new AS MATERIALIZED (
    SELECT nextval('order_sequences') AS sequence, place, (v->>0)::bigint AS order_id, (v->>1)::bigint AS user_id,
        v->>2 AS item_ids, (v->>3)::bigint AS total_amount, v->>4 AS metadata, v->>5 AS trace_headers
    FROM (SELECT v, place FROM jsonb_array_elements(%(orders)s::jsonb) WITH ORDINALITY AS element(v, place)
        ORDER BY place) AS ordered),
claim AS MATERIALIZED (
    SELECT CASE WHEN %(is_claim)s AND NOT {_PAUSED} AND NOT {_IS_DUE}
        AND NOT EXISTS (SELECT 1 FROM work WHERE {READY} AND sequence >= %(floor)s) THEN %(node)s::bigint END AS node),
stored AS (
    INSERT INTO orders (sequence, order_id, user_id, total_amount, created_us, item_ids, metadata, trace_headers)
    SELECT sequence, order_id, user_id, total_amount, %(wall_us)s, item_ids, metadata, trace_headers
    FROM new ORDER BY order_id, sequence
    ON CONFLICT (order_id) DO NOTHING RETURNING sequence),
working AS (
    INSERT INTO work (sequence, created_us, node, claimed_us, attempts, claims)
    SELECT sequence, %(wall_us)s, node, CASE WHEN node IS NOT NULL THEN %(wall_us)s::bigint END,
        (node IS NOT NULL)::integer, (node IS NOT NULL)::integer
    FROM stored CROSS JOIN claim
    RETURNING sequence)
SELECT (SELECT node IS NOT NULL FROM claim), (SELECT count(*) FROM stored), {_NEXT_DUE},
    CASE WHEN (SELECT node IS NOT NULL FROM claim) OR (SELECT count(*) FROM stored) < (SELECT count(*) FROM new)
        THEN (SELECT coalesce(json_agg(sequence ORDER BY sequence), '[]')::text FROM stored) ELSE '[]' END"""

# Attempts

MAKE_READY = """
WITH due AS MATERIALIZED (
    SELECT sequence FROM work WHERE due_us IS NOT NULL AND due_us <= %(database_us)s
    ORDER BY due_us, sequence LIMIT %(limit)s FOR UPDATE SKIP LOCKED),
ready AS (
    UPDATE work SET due_us = NULL FROM due WHERE work.sequence = due.sequence RETURNING 1)
SELECT count(*) FROM ready"""

# `floor` is the lowest sequence that can be ready. It spares reading the index entries of orders that were claimed
# before, which VACUUM can't remove while any transaction on the server is older.
CLAIM = f"""
WITH next AS MATERIALIZED (
    SELECT sequence FROM work
    WHERE {READY} AND sequence >= %(floor)s AND NOT {_PAUSED} AND (%(even_if_due)s OR NOT {_IS_DUE})
    ORDER BY sequence LIMIT %(limit)s FOR UPDATE SKIP LOCKED),
claimed AS (
    UPDATE work SET node = %(node)s, attempts = attempts + 1, claims = claims + 1,
        claimed_us = {_OWN_US.format(sequence="work.sequence")}
    FROM next WHERE work.sequence = next.sequence
    RETURNING work.sequence, work.attempts, work.claims, work.error)
SELECT coalesce(json_agg(json_build_array(orders.sequence, order_id, user_id, item_ids::json, total_amount, metadata,
    'Processing', attempts, claims, error, created_us, NULL, NULL, trace_headers) ORDER BY orders.sequence),
    '[]')::text, {_NEXT_DUE}, {_PAUSED}
FROM claimed JOIN orders ON orders.sequence = claimed.sequence"""

# The claim and the node are a fencing token: an outcome applies only if its claim is the latest one, and if the order
# is still being processed by the server that claimed it.
_RUNNING = "work.sequence = outcome.sequence AND work.claims = outcome.claim AND work.node = %(node)s"

COMPLETE = f"""
WITH outcome AS MATERIALIZED (
    SELECT * FROM unnest(%(sequences)s::bigint[], %(claims)s::integer[]) AS element(sequence, claim)),
gone AS (
    DELETE FROM work USING outcome WHERE {_RUNNING}
    RETURNING work.sequence, created_us, claimed_us, attempts, claims,
        greatest({_OWN_US.format(sequence="work.sequence")}, created_us) AS processed_us),
ended AS (
    INSERT INTO ends (sequence, processed_us, claimed_us, attempts, claims, status)
    SELECT sequence, processed_us, claimed_us, attempts, claims, 'c' FROM gone)
SELECT count(*), coalesce(sum(processed_us - created_us), 0)::bigint FROM gone"""

# If the outcome has no `due_us`, the order gets the same error and attempts as before the attempt.
END = f"""
WITH outcome AS MATERIALIZED (
    SELECT (v->>0)::bigint AS sequence, (v->>1)::integer AS claim, v->>2 AS status, v->>3 AS error,
        (v->>4)::bigint AS due_us, v->>5 AS ending, (v->>6)::boolean AS counts
    FROM jsonb_array_elements(%(outcomes)s::jsonb) AS element(v)),
recorded AS (
    INSERT INTO attempts (sequence, claim, number, started_us, ended_us, ending, error)
    SELECT work.sequence, work.claims, work.attempts, work.claimed_us,
        greatest({_OWN_US.format(sequence="work.sequence")}, work.claimed_us), outcome.ending, outcome.error
    FROM outcome JOIN work ON {_RUNNING} WHERE outcome.ending IS NOT NULL),
gone AS (
    DELETE FROM work USING outcome WHERE {_RUNNING} AND outcome.status = 'Failed'
    RETURNING work.sequence, created_us, claimed_us, attempts, claims, outcome.error),
ended AS (
    INSERT INTO ends (sequence, processed_us, claimed_us, attempts, claims, status, error)
    SELECT sequence, greatest({_OWN_US.format(sequence="sequence")}, created_us), claimed_us, attempts, claims, 'f',
        error
    FROM gone),
pending AS (
    UPDATE work SET node = NULL, due_us = outcome.due_us,
        error = CASE WHEN outcome.due_us IS NULL THEN work.error ELSE outcome.error END,
        attempts = work.attempts - (outcome.due_us IS NULL OR NOT outcome.counts)::integer
    FROM outcome WHERE {_RUNNING} AND outcome.status = 'Pending'
    RETURNING 1)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM pending)"""

# A transaction adds at most one attempt for an order, so at most one older attempt must be deleted.
DELETE_OLD_ATTEMPTS = f"""
DELETE FROM attempts USING (
    SELECT sequence, (SELECT claim FROM attempts AS each WHERE each.sequence = ended.sequence
        ORDER BY claim DESC LIMIT 1 OFFSET {MAX_RECORDED_ATTEMPTS}) AS claim
    FROM unnest(%(sequences)s::bigint[]) AS ended(sequence) OFFSET 0) AS old
WHERE attempts.sequence = old.sequence AND attempts.claim = old.claim"""

HISTORY = f"""
SELECT json_build_array({_STATUS}, coalesce(work.attempts, ends.attempts),
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
    DELETE FROM work USING pending WHERE work.sequence = pending.sequence
    RETURNING work.sequence, attempts, claims, error),
ended AS (
    INSERT INTO ends (sequence, attempts, claims, status, error)
    SELECT sequence, attempts, claims, 'x', error FROM gone)
SELECT coalesce(json_agg(sequence), '[]')::text FROM gone"""

RETRY_FAILED = """
WITH failed AS MATERIALIZED (
    SELECT sequence FROM ends WHERE sequence = ANY (%(sequences)s::bigint[]) AND status = 'f'
    ORDER BY sequence FOR UPDATE),
gone AS (
    DELETE FROM ends USING failed WHERE ends.sequence = failed.sequence RETURNING ends.sequence, claims),
working AS (
    INSERT INTO work (sequence, created_us, attempts, claims)
    SELECT orders.sequence, created_us, 0, claims FROM gone JOIN orders ON orders.sequence = gone.sequence)
SELECT coalesce(json_agg(sequence), '[]')::text FROM gone"""

MAKE_DUE_NOW = """
WITH waiting AS MATERIALIZED (
    SELECT sequence FROM work WHERE sequence = ANY (%(sequences)s::bigint[]) AND due_us IS NOT NULL
    ORDER BY sequence FOR UPDATE),
ready AS (
    UPDATE work SET due_us = NULL FROM waiting WHERE work.sequence = waiting.sequence RETURNING work.sequence)
SELECT coalesce(json_agg(sequence), '[]')::text FROM ready"""

_NEXT_TO_RETRY = """
SELECT coalesce(json_agg(json_build_array(sequence, order_id, user_id) ORDER BY sequence)
    FILTER (WHERE is_selected), '[]')::text, max(sequence), count(*), (SELECT last_value FROM order_sequences)
FROM (
    SELECT next.sequence, order_id, user_id,
        (%(error)s::text IS NULL OR strpos(next.error, %(error)s::text) > 0)
            AND orders.created_us >= %(created_from_us)s AND orders.created_us < %(created_until_us)s AS is_selected
    FROM (SELECT sequence, error FROM {table}
        WHERE {condition} AND sequence > %(after)s AND sequence <= %(last)s ORDER BY sequence LIMIT %(limit)s) AS next
    JOIN orders ON orders.sequence = next.sequence) AS examined"""
NEXT_FAILED = _NEXT_TO_RETRY.format(table="ends", condition="status = 'f'")
NEXT_WAITING = _NEXT_TO_RETRY.format(table="work", condition="due_us IS NOT NULL")

SET_PAUSED = """
WITH changed AS (UPDATE meta SET paused = %(paused)s WHERE paused <> %(paused)s RETURNING 1)
SELECT count(*) FROM changed"""

# Totals

ADD_TO_TOTALS = """
UPDATE totals SET pending = pending + %(pending)s, processing = processing + %(processing)s,
    completed = completed + %(completed)s, failed = failed + %(failed)s, cancelled = cancelled + %(cancelled)s,
    processing_us = processing_us + %(processing_us)s
WHERE node = %(node)s"""

TOTALS = f"""
SELECT sum(pending)::bigint, sum(processing)::bigint, sum(completed)::bigint, sum(failed)::bigint,
    sum(cancelled)::bigint, sum(processing_us)::bigint, {_PAUSED},
    (SELECT json_build_array(sequence, created_us)::text FROM (
        SELECT * FROM (SELECT sequence, created_us FROM work WHERE {READY} ORDER BY sequence LIMIT 1) AS ready
        UNION ALL
        SELECT * FROM (
            SELECT sequence, created_us FROM work WHERE due_us IS NOT NULL ORDER BY sequence LIMIT 1) AS waiting
        ORDER BY sequence LIMIT 1) AS oldest)
FROM totals"""

LAST_SEQUENCE = "SELECT last_value FROM order_sequences"

BRING_FORWARD = "UPDATE work SET due_us = %(database_us)s WHERE due_us > %(latest_us)s"

DATABASE_US = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

# For probes

NEWEST_ID = "SELECT order_id FROM orders ORDER BY sequence DESC LIMIT 1"

SIZE = "SELECT pg_database_size(current_database())"
