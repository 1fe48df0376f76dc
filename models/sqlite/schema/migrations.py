"""Creates the tables of a new file, and migrates older files. Runs on the main thread.

Never change an existing migration.
"""

import itertools
import logging

from models.errors import DatabaseRefusedError
from models.sqlite.database import RetryingSqliteDatabase
from models.sqlite.schema.tables import APPLICATION_ID, TABLES, TotalsRow
from models.sqlite.statements import CHANGE_STATE

_log = logging.getLogger("orders.schema")
_MIGRATIONS = (
    # From version 1 to 2: delayed retries, and an index of Failed orders.
    (
        "ALTER TABLE orders ADD COLUMN due_us INTEGER",
        "DROP INDEX orders_pending",
        "CREATE INDEX orders_pending ON orders (due_us, sequence) WHERE status = 'Pending'",
        "CREATE INDEX orders_waiting ON orders (sequence) WHERE status = 'Pending' AND due_us IS NOT NULL",
        "CREATE INDEX orders_failed ON orders (sequence) WHERE status = 'Failed'",
    ),
    # From version 2 to 3: listings.
    (
        "CREATE INDEX orders_user ON orders (sequence >> 11, user_id)",
        "CREATE INDEX orders_created ON orders (sequence >> 11, created_us)",
        "CREATE INDEX orders_completed ON orders (sequence) WHERE status = 'Completed'",
        "CREATE INDEX orders_cancelled ON orders (sequence) WHERE status = 'Cancelled'",
    ),
    # From version 3 to 4: the history of attempts, headers of requests, the column `state`, which shows which database
    # file a WAL belongs to, the pause of processing, and steps of the wall clock.
    (
        "ALTER TABLE orders ADD COLUMN claimed_after_us INTEGER",
        "ALTER TABLE orders ADD COLUMN trace_headers TEXT",
        """CREATE TABLE attempts (
            sequence INTEGER NOT NULL, claim INTEGER NOT NULL, number INTEGER NOT NULL, started_us INTEGER,
            ended_us INTEGER NOT NULL, ending TEXT NOT NULL, error TEXT, PRIMARY KEY (sequence, claim)
        ) WITHOUT ROWID""",
        "ALTER TABLE totals ADD COLUMN state INTEGER",
        "ALTER TABLE totals ADD COLUMN previous_state INTEGER",
        "ALTER TABLE totals ADD COLUMN paused INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE totals ADD COLUMN clock_step_us INTEGER NOT NULL DEFAULT 0",
    ),
    # From version 4 to 5: a row for each block of orders instead of two indexes of all orders. The rows are computed
    # from these indexes, which takes much less time than to read the orders.
    (
        """CREATE TABLE blocks (
            block INTEGER NOT NULL PRIMARY KEY, first_us INTEGER NOT NULL, last_us INTEGER NOT NULL,
            completed INTEGER NOT NULL)""",
        """WITH RECURSIVE
            numbers(block) AS (
                SELECT min(sequence) >> 11 FROM orders
                UNION ALL
                SELECT block + 1 FROM numbers WHERE block < (SELECT max(sequence) >> 11 FROM orders)),
            chunks(chunk) AS (VALUES (0) UNION ALL SELECT chunk + 1 FROM chunks WHERE chunk < 31),
            times(block, first_us, last_us) AS (
                SELECT block,
                    (SELECT min(created_us) FROM orders INDEXED BY orders_created WHERE sequence >> 11 = block),
                    (SELECT max(created_us) FROM orders INDEXED BY orders_created WHERE sequence >> 11 = block)
                FROM numbers)
        INSERT INTO blocks
        SELECT block, first_us, last_us, (
            SELECT ifnull(sum(1 << chunk), 0) FROM chunks WHERE EXISTS (
                SELECT 1 FROM orders INDEXED BY orders_completed WHERE status = 'Completed'
                    AND sequence BETWEEN (block << 11) + (chunk << 6) AND (block << 11) + (chunk << 6) + 63))
        FROM times WHERE first_us IS NOT NULL""",
        # Some builds of SQLite overwrite all pages of a dropped index unless this connection turns that off.
        "PRAGMA secure_delete = fast",
        "DROP INDEX orders_created",
        "DROP INDEX orders_completed",
    ),
    # From version 5 to 6: the number of Processing orders of each block instead of an index of them.
    (
        "ALTER TABLE blocks ADD COLUMN processing INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE blocks ADD COLUMN processing_chunks INTEGER NOT NULL DEFAULT 0",
        """UPDATE blocks SET processing = counted.orders, processing_chunks = counted.chunks
        FROM (
            SELECT sequence >> 11 AS block, count(*) AS orders, sum(DISTINCT 1 << (sequence >> 6 & 31)) AS chunks
            FROM orders INDEXED BY orders_processing WHERE status = 'Processing' GROUP BY 1) AS counted
        WHERE blocks.block = counted.block""",
        "CREATE INDEX blocks_processing ON blocks (block) WHERE processing > 0",
        "PRAGMA secure_delete = fast",
        "DROP INDEX orders_processing",
    ),
    # From version 6 to 7: measurements for charts.
    (
        """CREATE TABLE measurements (
            interval_s INTEGER NOT NULL, begin_s INTEGER NOT NULL, process TEXT NOT NULL, measures TEXT NOT NULL,
            PRIMARY KEY (interval_s, begin_s, process)
        ) WITHOUT ROWID""",
    ),
    # From version 7 to 8: archived and erased orders.
    (
        "CREATE TABLE fingerprints (order_id INTEGER NOT NULL PRIMARY KEY, fingerprint INTEGER NOT NULL)",
        "CREATE TABLE archives (id INTEGER NOT NULL PRIMARY KEY, member INTEGER NOT NULL)",
        "ALTER TABLE totals ADD COLUMN archived_completed INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE totals ADD COLUMN archived_cancelled INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE totals ADD COLUMN archived_processing_us INTEGER NOT NULL DEFAULT 0",
    ),
)
"""The statements that migrate a file from version n to n + 1, beginning with n = 1."""
SCHEMA_VERSION = len(_MIGRATIONS) + 1


def migrate(database: RetryingSqliteDatabase) -> None:
    """Creates the tables, or migrates them to the current version. Must be called in a transaction."""
    if database.user_version == 0:
        if database.application_id or database.execute_sql("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            # The file was empty when `open_database` checked it before.
            raise DatabaseRefusedError("another program has just written to the database file")
        with database.bind_ctx(TABLES):
            database.create_tables(TABLES, safe=False)
            TotalsRow.create()
        database.application_id = APPLICATION_ID
    else:
        # Logged because the start can seem to hang: ten million orders take about fifteen seconds.
        _log.info("migrating the database from schema version %d to %d", database.user_version, SCHEMA_VERSION)
        for statement in itertools.chain.from_iterable(_MIGRATIONS[database.user_version - 1 :]):
            database.execute_sql(statement)
    database.execute_sql(CHANGE_STATE)
    database.user_version = SCHEMA_VERSION
