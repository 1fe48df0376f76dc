"""The SQL statements that archive and erase orders. Constants. See `models/postgresql/statements.py`."""

from models.order import ERASED_USER
from models.postgresql.statements import BLOCK_BITS, ITS_ORDER, JOINED, STORED_ORDER

_LISTED = "sequence = ANY (%(sequences)s::bigint[])"
_IN_BLOCK = f"sequence >= block << {BLOCK_BITS} AND sequence < (block + 1) << {BLOCK_BITS}"

# A cancelled order has no `processed_us`. The walk through the blocks ends when enough orders are found, as in
# `listing_statements.py`.
FIND_EXPIRED = f"""
SELECT coalesce(json_agg({STORED_ORDER} ORDER BY orders.sequence), '[]')::text
FROM (
    SELECT unnest(ARRAY(
        SELECT ended.sequence FROM (
            SELECT sequence, processed_us FROM ends
            WHERE {_IN_BLOCK} AND sequence > %(after)s AND status <> 'f' ORDER BY sequence) AS ended
        CROSS JOIN LATERAL (
            SELECT FROM orders WHERE orders.sequence = ended.sequence
                AND coalesce(ended.processed_us, created_us) < %(before_us)s
                AND orders.sequence < (SELECT max(sequence) FROM orders) OFFSET 0) AS expired
        ORDER BY ended.sequence LIMIT %(limit)s)) AS sequence
    FROM (
        SELECT DISTINCT block FROM blocks
        WHERE block >= (%(after)s::bigint + 1) >> {BLOCK_BITS} AND first_us < %(before_us)s) AS walk
    ORDER BY block LIMIT %(limit)s) AS listed {ITS_ORDER.format(table="listed")} {JOINED}"""

FIND_FINGERPRINTS = """
SELECT coalesce(json_agg(json_build_array(order_id, fingerprint)), '[]')::text FROM fingerprints
WHERE order_id = ANY (%(order_ids)s::bigint[])"""

# Locks the rows in the order of their sequences, so that two servers do not wait for each other. Another server can
# have erased or archived the orders since they were read. A failover to a standby that lags behind can even have lost
# the announcement (see ANNOUNCE).
LOCK_UNCHANGED = f"""
WITH locked AS MATERIALIZED (
    SELECT sequence, user_id FROM orders WHERE {_LISTED} ORDER BY sequence FOR UPDATE)
SELECT count(*) FROM locked CROSS JOIN LATERAL (
    SELECT FROM ends WHERE ends.sequence = locked.sequence AND status <> 'f' OFFSET 0) AS ended
WHERE (SELECT archiving_begun FROM meta)
    AND (user_id = {ERASED_USER}) = (sequence = ANY (%(erased)s::bigint[]))"""

ADD_FINGERPRINTS = """
INSERT INTO fingerprints (order_id, fingerprint)
SELECT (v->>0)::bigint, (v->>1)::bigint FROM jsonb_array_elements(%(fingerprints)s::jsonb) AS element(v) ORDER BY 1"""

DELETE = tuple(f"DELETE FROM {table} WHERE {_LISTED}" for table in ("attempts", "ends", "orders"))

# New orders change the rows of the newest block. Its row is left, so that no server waits for another one's commit.
DELETE_BLOCKS = f"""
DELETE FROM blocks WHERE block = ANY (%(blocks)s::bigint[])
    AND block < (SELECT max(sequence) FROM orders) >> {BLOCK_BITS}
    AND NOT EXISTS (SELECT FROM orders WHERE {_IN_BLOCK})"""

SET_MEMBER = """
INSERT INTO archives (id, member) VALUES (%(archive)s, %(number)s)
ON CONFLICT (id) DO UPDATE SET member = excluded.member"""

LAST_MEMBER = "SELECT member FROM archives WHERE id = %(archive)s"

LOCK_ENDED = f"""
SELECT coalesce(json_agg(sequence), '[]')::text FROM (
    SELECT sequence FROM orders WHERE {_LISTED} ORDER BY sequence FOR UPDATE) AS locked
CROSS JOIN LATERAL (SELECT FROM ends WHERE ends.sequence = locked.sequence OFFSET 0) AS ended"""

ERASE = (
    f"UPDATE orders SET user_id = {ERASED_USER}, metadata = NULL, trace_headers = NULL WHERE {_LISTED}",
    f"UPDATE ends SET error = NULL WHERE {_LISTED} AND error IS NOT NULL",
    f"UPDATE attempts SET error = NULL WHERE {_LISTED} AND error IS NOT NULL",
)

_LOCK = 0x4F524441
"""The key of the advisory lock that the server holds which archives orders ("ORDA")."""
MAY_ARCHIVE = f"""
SELECT (SELECT archiving_begun FROM meta), NOT EXISTS (SELECT FROM nodes WHERE schema < %(version)s) AND CASE
    WHEN EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = {_LOCK} AND objsubid = 1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND pid = pg_backend_pid() AND granted) THEN true
    ELSE pg_try_advisory_lock({_LOCK}) END"""

# The first archiving is announced, and begins when all transactions that were running at the time of END_OF_RUNNING
# have ended. An INSERT whose snapshot lacks the announcement belongs to one of them, because BEAT has given its
# transaction an id before. So a transaction that does not search for fingerprints never meets an archived order.
# https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT
ANNOUNCE = "UPDATE meta SET archiving_announced = true WHERE NOT archiving_announced RETURNING true"
END_OF_RUNNING = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
BEGIN_ARCHIVING = """
UPDATE meta SET archiving_begun = true
WHERE archiving_announced AND pg_snapshot_xmin(pg_current_snapshot()) >= %(end)s::text::xid8 RETURNING true"""
