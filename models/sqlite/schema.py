"""The tables as Peewee models, and the migrations of older files. Runs on the main thread.

To change the schema, change the models and add a migration. Never change an existing migration.
"""

import itertools
import logging
from typing import Any, cast

import peewee

from models.errors import DatabaseRefusedError
from models.sqlite.database import RetryingSqliteDatabase
from models.sqlite.statements import CHANGE_STATE

_log = logging.getLogger("orders.schema")

APPLICATION_ID = 0x4F524452
"""Identifies the file as a database of this program: "ORDR" (SQLite file format §1.3.8)."""
_PENDING = peewee.SQL("status = 'Pending'")
_WAITING = peewee.SQL("status = 'Pending' AND due_us IS NOT NULL")
_FAILED = peewee.SQL("status = 'Failed'")
_CANCELLED = peewee.SQL("status = 'Cancelled'")
_BLOCK = peewee.SQL("sequence >> 11")
"""The number of an order's block: 2,048 orders with consecutive sequences. See `models/sqlite/blocks.py`."""

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


class OrderRow(peewee.Model):
    """One order. `sequence` is the row id, so orders are stored on disk in the order of acceptance.

    A Pending order can't be claimed before `due_us`, which is steady time in microseconds (`models/clock.py`). NULL
    means that the order can be claimed at once. `claimed_after_us` is the number of microseconds from `created_us` to
    the latest claim. This number takes fewer bytes in the file than the time of the claim would take.
    """

    sequence = peewee.AutoField()
    order_id = peewee.BigIntegerField()
    user_id = peewee.BigIntegerField()
    item_ids = peewee.TextField()
    total_amount = peewee.BigIntegerField()
    metadata = peewee.TextField(null=True)
    status = peewee.TextField()
    attempts = peewee.IntegerField()
    claims = peewee.IntegerField()
    error = peewee.TextField(null=True)
    created_us = peewee.BigIntegerField()
    processed_us = peewee.BigIntegerField(null=True)
    due_us = peewee.BigIntegerField(null=True)
    claimed_after_us = peewee.BigIntegerField(null=True)
    trace_headers = peewee.TextField(null=True)

    class Meta:
        table_name = "orders"


OrderRow.add_index(OrderRow.index(OrderRow.order_id, unique=True, name="orders_order_id"))
# Partial indexes for processing, which stay small: they contain only orders that are Pending or Failed.
OrderRow.add_index(OrderRow.index(OrderRow.due_us, OrderRow.sequence, where=_PENDING, name="orders_pending"))
OrderRow.add_index(OrderRow.index(OrderRow.sequence, where=_WAITING, name="orders_waiting"))
OrderRow.add_index(OrderRow.index(OrderRow.sequence, where=_FAILED, name="orders_failed"))
# For listings. If the index by user began with the user, each new order would change a different page, and the WAL
# stores whole pages. Because the index begins with the block, the orders of a batch change the same few pages. But a
# listing by user must search the index once for each block.
OrderRow.add_index(OrderRow.index(_BLOCK, OrderRow.user_id, name="orders_user"))
OrderRow.add_index(OrderRow.index(OrderRow.sequence, where=_CANCELLED, name="orders_cancelled"))


class TotalsRow(peewee.Model):
    """The only row of the table `totals`. The row is updated in the same transaction as the orders that it counts.

    `processing_us` sums the microseconds from acceptance to completion. `state` and `previous_state`: see
    `models/sqlite/files/leftover_wal.py`. `paused` is 1 while processing is paused, else 0. `clock_step_us`: see
    `models/sqlite/recovery.py`. The columns `archived_…` say how much of the other columns belongs to archived orders.
    """

    id = peewee.AutoField()
    pending = peewee.BigIntegerField(default=0)
    processing = peewee.BigIntegerField(default=0)
    completed = peewee.BigIntegerField(default=0)
    failed = peewee.BigIntegerField(default=0)
    cancelled = peewee.BigIntegerField(default=0)
    processing_us = peewee.BigIntegerField(default=0)
    state = peewee.BigIntegerField(null=True)
    previous_state = peewee.BigIntegerField(null=True)
    paused = peewee.IntegerField(default=0)
    clock_step_us = peewee.BigIntegerField(default=0)
    archived_completed = peewee.BigIntegerField(default=0)
    archived_cancelled = peewee.BigIntegerField(default=0)
    archived_processing_us = peewee.BigIntegerField(default=0)

    class Meta:
        table_name = "totals"


TOTALS_COLUMNS: tuple[str, ...] = tuple(cast(Any, TotalsRow)._meta.sorted_field_names)
"""The columns of `totals`, in the order in which a row stores them."""


class AttemptRow(peewee.Model):
    """One ended attempt that did not complete its order. `claim` is the order's `claims` during the attempt.

    The attempt that completes an order has no row: the row of the order has the same values.
    """

    sequence = peewee.BigIntegerField()
    claim = peewee.IntegerField()
    number = peewee.IntegerField()
    started_us = peewee.BigIntegerField(null=True)
    ended_us = peewee.BigIntegerField()
    ending = peewee.TextField()
    error = peewee.TextField(null=True)

    class Meta:
        table_name = "attempts"
        primary_key = peewee.CompositeKey("sequence", "claim")
        without_rowid = True


class BlockRow(peewee.Model):
    """One block of orders. See `models/sqlite/blocks.py`."""

    block = peewee.IntegerField(primary_key=True)
    first_us = peewee.BigIntegerField()
    last_us = peewee.BigIntegerField()
    completed = peewee.IntegerField()
    processing = peewee.IntegerField()
    processing_chunks = peewee.IntegerField()

    class Meta:
        table_name = "blocks"


# Contains only the blocks that have Processing orders. A commit changes this index only if a block gets its first or
# loses its last Processing order.
BlockRow.add_index(BlockRow.index(BlockRow.block, where=peewee.SQL("processing > 0"), name="blocks_processing"))


class MeasurementRow(peewee.Model):
    """A `models.measurements.Measurement`, with its measures as JSON."""

    interval_s = peewee.IntegerField()
    begin_s = peewee.BigIntegerField()
    process = peewee.TextField()
    measures = peewee.TextField()

    class Meta:
        table_name = "measurements"
        primary_key = peewee.CompositeKey("interval_s", "begin_s", "process")
        without_rowid = True


class FingerprintRow(peewee.Model):
    """What remains of an archived order, and of the values that were erased from an order.

    See `models/identity/fingerprint.py`.
    """

    order_id = peewee.BigIntegerField(primary_key=True)
    fingerprint = peewee.BigIntegerField()

    class Meta:
        table_name = "fingerprints"


class ArchiveRow(peewee.Model):
    """The last member of an archive whose orders were deleted: `Store.last_member`."""

    id = peewee.BigIntegerField(primary_key=True)
    member = peewee.BigIntegerField()

    class Meta:
        table_name = "archives"


_TABLES = (OrderRow, TotalsRow, AttemptRow, BlockRow, MeasurementRow, FingerprintRow, ArchiveRow)


def migrate(database: RetryingSqliteDatabase) -> None:
    """Creates the tables, or migrates them to the current version. Must be called in a transaction."""
    if database.user_version == 0:
        if database.application_id or database.execute_sql("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            # The file was empty when `open_database` checked it before.
            raise DatabaseRefusedError("another program has just written to the database file")
        with database.bind_ctx(_TABLES):
            database.create_tables(_TABLES, safe=False)
            TotalsRow.create()
        database.application_id = APPLICATION_ID
    else:
        # Logged because the start can seem to hang: ten million orders take about fifteen seconds.
        _log.info("migrating the database from schema version %d to %d", database.user_version, SCHEMA_VERSION)
        for statement in itertools.chain.from_iterable(_MIGRATIONS[database.user_version - 1 :]):
            database.execute_sql(statement)
    database.execute_sql(CHANGE_STATE)
    database.user_version = SCHEMA_VERSION
