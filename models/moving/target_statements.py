"""The SQL statements of a move that run in PostgreSQL. Constants."""

from models.moving.conversion import STATUS_CODES
from models.order import Status
from models.postgresql.schema.steps import MOVING, OWNER
from models.postgresql.statements import BLOCK_BITS

# One row. `file` and `state` identify the file and its content; `last_sequence` is the sequence of the last copied
# order, and `copied` the number of copied orders.
CREATE_MOVE = f"""
CREATE TABLE move (
    id text PRIMARY KEY,
    file text NOT NULL,
    state bigint,
    node bigint NOT NULL,
    ahead_us bigint NOT NULL,
    last_sequence bigint NOT NULL,
    copied bigint NOT NULL DEFAULT 0,
    began timestamptz NOT NULL DEFAULT now(),
    finished timestamptz);
COMMENT ON TABLE meta IS '{MOVING}'"""

HAS_MOVE = "SELECT to_regclass(quote_ident(current_schema()) || '.move') IS NOT NULL"

BEGIN_MOVE = """
INSERT INTO move (id, file, state, node, ahead_us, last_sequence)
VALUES (%(id)s, %(file)s, %(state)s, nextval('node_ids'), %(ahead_us)s, %(last_sequence)s)"""

READ_MOVE = "SELECT id, file, state, node, ahead_us, last_sequence, copied, finished IS NOT NULL FROM move"

DROP_ROWS = """
TRUNCATE orders, work, ends, attempts, blocks, fingerprints, archives, move;
DELETE FROM nodes; DELETE FROM totals WHERE node <> 0"""

IS_USED = "SELECT EXISTS (SELECT FROM orders) OR EXISTS (SELECT FROM attempts) OR EXISTS (SELECT FROM nodes)"

# While the next orders are read from the file, the transaction is idle.
WAIT_FOR_FILE = "SET LOCAL idle_in_transaction_session_timeout = '5min'"
LOCK_PROGRESS = "SELECT last_sequence FROM move WHERE id = %(id)s FOR UPDATE"
SET_PROGRESS = "UPDATE move SET last_sequence = %(last)s, copied = copied + %(orders)s WHERE id = %(id)s"

COPY_FROM = "COPY {table} ({columns}) FROM STDIN"

ADD_BLOCKS = f"""
INSERT INTO blocks (block, node, first_us, last_us)
SELECT sequence >> {BLOCK_BITS}, 0, min(created_us), max(created_us) FROM orders
WHERE sequence > %(after)s AND sequence <= %(last)s GROUP BY 1
ON CONFLICT (block, node) DO UPDATE SET first_us = least(blocks.first_us, excluded.first_us),
    last_us = greatest(blocks.last_us, excluded.last_us)"""

REMOVE_FINGERPRINTS = "TRUNCATE fingerprints, archives"

COPY_TO = """
COPY (SELECT {columns} FROM {table} WHERE sequence > {after} AND sequence <= {last} ORDER BY {first_two}) TO STDOUT"""

ANALYZE = "ANALYZE orders, work, ends, attempts, blocks, fingerprints"

# Allows query plans that read whole tables. The statements of a server must not use such plans.
USE_WHOLE_TABLES = """
SET LOCAL enable_seqscan = on;
SET LOCAL enable_hashjoin = on;
SET LOCAL enable_mergejoin = on;
SET LOCAL plan_cache_mode = 'force_custom_plan'"""

_COUNTS = {
    Status.PENDING: "SELECT count(*) FROM work WHERE node IS NULL",
    Status.PROCESSING: "SELECT count(*) FROM work WHERE node IS NOT NULL",
} | {status: f"SELECT count(*) FROM ends WHERE status = '{code}'" for status, code in STATUS_CODES.items()}
COUNT = f"""
SELECT {", ".join(f"({_COUNTS[status]})" for status in Status)}, coalesce(sum(total_amount), 0),
    (SELECT count(*) FROM attempts), count(*)
FROM orders"""

COUNT_WRONG_BLOCKS = f"""
SELECT count(*) FROM (
    SELECT sequence >> {BLOCK_BITS} AS block, min(created_us) AS first_us, max(created_us) AS last_us
    FROM orders GROUP BY 1) AS counted FULL JOIN blocks USING (block)
WHERE blocks.first_us IS DISTINCT FROM counted.first_us OR blocks.last_us IS DISTINCT FROM counted.last_us"""

COUNT_SERVERS = "SELECT count(*) FROM nodes"

FINISH_TOTALS = """
UPDATE totals SET pending = %(pending)s, processing = %(processing)s, completed = %(completed)s, failed = %(failed)s,
    cancelled = %(cancelled)s, processing_us = %(processing_us)s, archived_completed = %(archived_completed)s,
    archived_cancelled = %(archived_cancelled)s, archived_processing_us = %(archived_processing_us)s
WHERE node = 0"""
FINISH_SEQUENCES = "SELECT setval('order_sequences', %(last)s)"
FINISH_META = """
UPDATE meta SET paused = %(paused)s, archiving_announced = EXISTS (SELECT FROM fingerprints)"""

# Processing orders belong to a server. Adds a server that has given up its lease, so that others take its orders over.
ADD_NODE = """
WITH new AS (
    INSERT INTO nodes (node, beat, started, name, schema)
    SELECT node, '-infinity', now(), 'the moved file', %(schema)s FROM move RETURNING node)
INSERT INTO totals (node) SELECT node FROM new"""

FINISH = f"""
UPDATE move SET finished = now();
COMMENT ON TABLE meta IS '{OWNER}'"""
