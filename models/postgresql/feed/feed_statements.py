"""The SQL statements of the feed. Constants.

`feed` has a row for each transaction that changed the statuses of orders. `feed_start` has at most one row. It has no
row before a server reads the feed for the first time. A crash of the database, or a standby that becomes the primary,
empties both tables, because they are unlogged:
https://www.postgresql.org/docs/current/sql-createtable.html#SQL-CREATETABLE-UNLOGGED

Servers record their changes until the time `feed_start.until`, which readers move on. `feed_start.id` is the id after
which the feed has all changes.
"""

from models.changes.order_changes import MAX_ERROR_CHARACTERS
from models.postgresql.statements import JOINED, STATUS

IS_READ = "EXISTS (SELECT 1 FROM feed_start WHERE until > clock_timestamp())"
"""Whether a transaction must record its changes. Part of its first statement, which changes `nodes`.

PostgreSQL locks a statement's tables before it takes the statement's snapshot. So after a reader has started the feed,
each running transaction that does not see this already holds its lock of `nodes`: see WRITERS.
"""

# The last statement before COMMIT. If two transactions change the same order, one waits for the other, so their ids are
# in the right order. Few ids are missing because of transactions that fail, and the table is only locked for a moment.
ADD = "INSERT INTO feed (count, changes) VALUES (%(count)s, %(changes)s)"

CHANGES_OF = f"""
SELECT coalesce(json_agg(json_build_array(order_id, user_id, {STATUS}, coalesce(work.attempts, ends.attempts),
    left(coalesce(work.error, ends.error), {MAX_ERROR_CHARACTERS})) ORDER BY orders.sequence), '[]')::text
FROM orders {JOINED} WHERE orders.sequence = ANY (%(sequences)s::bigint[])"""

# Changes are recorded for 9 to 10 minutes after the last read. Clients that reconnect within 8 minutes miss nothing.
_UNTIL = "clock_timestamp() + interval '10 minutes'"
_RENEW_BEFORE = "clock_timestamp() + interval '9 minutes'"
# A feed that ends so soon can't be continued: a server can already run a transaction for which the feed has ended.
_TOO_LATE = "clock_timestamp() + interval '1 minute'"

# Before the first call of nextval, `last_value` is the number that this call returns.
START = f"""
INSERT INTO feed_start (epoch, id, until)
SELECT %(epoch)s, CASE WHEN is_called THEN last_value ELSE last_value - 1 END, {_UNTIL} FROM feed_id_seq
ON CONFLICT (is_only) DO UPDATE SET epoch = excluded.epoch, id = excluded.id, until = excluded.until
WHERE feed_start.until < {_TOO_LATE}"""

RENEW = f"UPDATE feed_start SET until = {_UNTIL} WHERE epoch = %(epoch)s AND until >= {_TOO_LATE}"

MAX_ROWS = 100
MAX_CHANGES = 5_000
"""A read of the feed ends with the row that reaches one of these two limits."""

READ = f"""
SELECT epoch, start.id, until < {_RENEW_BEFORE}, next.id, next.changes
FROM feed_start AS start LEFT JOIN LATERAL (
    SELECT id, changes FROM (
        SELECT id, changes, sum(count) OVER (ORDER BY id) - count AS before FROM feed
        WHERE id > CASE WHEN start.epoch = %(epoch)s THEN greatest(start.id, %(after)s::bigint) ELSE start.id END
        ORDER BY id LIMIT {MAX_ROWS}) AS following
    WHERE before < {MAX_CHANGES}) AS next ON true
WHERE until >= {_TOO_LATE} ORDER BY next.id"""

# Servers that do not record their changes, even if their leases have expired. There can't be new ones.
SERVERS_WITHOUT_FEED = "SELECT name FROM nodes WHERE schema < %(version)s ORDER BY node"

ENDED = """
SELECT coalesce(json_agg(order_id), '[]')::text FROM orders
    CROSS JOIN LATERAL (SELECT 1 FROM ends WHERE ends.sequence = orders.sequence OFFSET 0) AS ended
WHERE order_id = ANY (%(order_ids)s::bigint[])"""

# The transactions that have changed the table, or are about to, and have not ended. A transaction releases its locks
# when others see its changes: https://www.postgresql.org/docs/current/view-pg-locks.html
WRITERS = """
SELECT coalesce(array_agg(virtualtransaction), '{}') FROM pg_locks
WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted AND relation = %(table)s::regclass
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""

# Does nothing if another server is removing rows, or has removed these.
TRIM = """
WITH start AS MATERIALIZED (
    SELECT 1 FROM feed_start WHERE epoch = %(epoch)s AND id < %(last)s FOR UPDATE SKIP LOCKED),
gone AS (DELETE FROM feed WHERE id <= %(last)s AND EXISTS (SELECT 1 FROM start))
UPDATE feed_start SET id = %(last)s WHERE epoch = %(epoch)s AND EXISTS (SELECT 1 FROM start)"""
