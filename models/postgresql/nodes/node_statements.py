"""The SQL statements about servers that share the database, and about unknown commits. Constants.

A server is a node here. Its number is never used again. Leases are compared by the database's clock alone.
"""

from models.postgresql.connection.session import APPLICATION
from models.postgresql.feed.feed_statements import IS_READ

LEASE_S = 5.0
"""A server that has not renewed its lease for this number of seconds is dead. Other servers take its orders over."""

REGISTER = """
WITH new AS (
    INSERT INTO nodes (node, beat, started, name, schema)
    VALUES (nextval('node_ids'), clock_timestamp(), clock_timestamp(), %(name)s, %(schema)s) RETURNING node)
INSERT INTO totals (node) SELECT node FROM new RETURNING node"""

# The first statement of each transaction. It locks the row until the transaction ends, so that no other server takes
# this one's orders over in the meantime. No row: another server has already done so.
BEAT = f"""
UPDATE nodes SET beat = clock_timestamp() WHERE node = %(node)s
RETURNING pg_current_xact_id()::text, extract(epoch FROM beat), (SELECT sum(pending)::bigint FROM totals),
    (SELECT paused FROM meta), {IS_READ}"""

# The commit that renews a lease does not wait for a sync, because a lease need not survive a crash of the database.
RENEW_LATER = "SET LOCAL synchronous_commit = off"

_EXPIRED = """beat < clock_timestamp() - make_interval(secs => %(lease_s)s) AND node <> %(node)s"""

# A server that has given up its lease is not in the list. `processing` comes from the server's row in `totals`.
OTHERS = f"""
SELECT EXISTS (SELECT 1 FROM nodes WHERE node <> %(node)s), EXISTS (SELECT 1 FROM nodes WHERE {_EXPIRED}),
    (SELECT resumes FROM meta), (
    SELECT coalesce(json_agg(json_build_array(node, name, (extract(epoch FROM started) * 1000000)::bigint,
        extract(epoch FROM clock_timestamp() - beat)::float8,
        beat >= clock_timestamp() - make_interval(secs => %(lease_s)s), processing, node = %(node)s) ORDER BY node),
        '[]')::text
    FROM nodes CROSS JOIN LATERAL (SELECT processing FROM totals WHERE totals.node = nodes.node OFFSET 0) AS own
    WHERE isfinite(beat))"""

LOCK_EXPIRED = f"SELECT node FROM nodes WHERE {_EXPIRED} ORDER BY node LIMIT 1 FOR UPDATE SKIP LOCKED"

# Ends the transactions that lock the rows of servers whose leases have expired, if PostgreSQL waits for their next
# statement. `xmax` is the id of the transaction that locks the row.
END_FROZEN = f"""
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = '{APPLICATION}' AND wait_event = 'ClientRead'
    AND xact_start < clock_timestamp() - make_interval(secs => %(lease_s)s)
    AND backend_xid IN (SELECT xmax FROM nodes WHERE {_EXPIRED})"""

LOCK_OWN = "SELECT node FROM nodes WHERE node = %(node)s FOR UPDATE SKIP LOCKED"

INTERRUPTED = """
SELECT coalesce(json_agg(json_build_array(sequence, claims, attempts) ORDER BY sequence), '[]')::text
FROM (SELECT sequence, claims, attempts FROM work WHERE node = %(dead)s ORDER BY sequence LIMIT %(limit)s) AS next"""

_FOLD_TOTALS = """
WITH gone AS (
    DELETE FROM totals WHERE node = %(dead)s
    RETURNING pending, processing, completed, failed, cancelled, processing_us, archived_completed,
        archived_cancelled, archived_processing_us)
UPDATE totals SET pending = totals.pending + gone.pending, processing = totals.processing + gone.processing,
    completed = totals.completed + gone.completed, failed = totals.failed + gone.failed,
    cancelled = totals.cancelled + gone.cancelled, processing_us = totals.processing_us + gone.processing_us,
    archived_completed = totals.archived_completed + gone.archived_completed,
    archived_cancelled = totals.archived_cancelled + gone.archived_cancelled,
    archived_processing_us = totals.archived_processing_us + gone.archived_processing_us
FROM gone WHERE totals.node = {heir}"""
FOLD_TOTALS = _FOLD_TOTALS.format(heir="%(node)s")
FOLD_TOTALS_OF_ALL = _FOLD_TOTALS.format(heir="0")

FORGET = "DELETE FROM nodes WHERE node = %(dead)s"

KEPT_LOST_NODES = 1_000
"""The rows in `lost_nodes` of this number of servers are kept. A server reads its row within seconds, when it has a
connection again."""
FORGET_LOST = f"""
WITH gone AS (DELETE FROM nodes WHERE node = %(dead)s RETURNING node, beat),
old AS (DELETE FROM lost_nodes WHERE node <= %(dead)s - {KEPT_LOST_NODES})
INSERT INTO lost_nodes (node, beat) SELECT node, beat FROM gone"""

HAS_WORK = "SELECT EXISTS (SELECT 1 FROM work WHERE node = %(dead)s)"

# The server gives up its lease, so its orders can be taken over at once.
GIVE_UP = "UPDATE nodes SET beat = '-infinity' WHERE node = %(dead)s"

XACT_STATUS = "SELECT pg_xact_status(%(xid)s::text::xid8)"

# Whether this server's row has this time, in `nodes`, or in `lost_nodes` if the server was taken over. Only this server
# changes the row, so the row has the time of the last committed transaction.
IS_LAST_BEAT = """
SELECT EXISTS (SELECT 1 FROM nodes WHERE node = %(node)s AND extract(epoch FROM beat) = %(beat)s), EXISTS (
    SELECT 1 FROM lost_nodes WHERE node = %(node)s AND extract(epoch FROM beat) = %(beat)s)"""

WRITE_TO_DISK = "UPDATE totals SET pending = pending WHERE node = 0"
