"""What is in the file: its tables as Peewee models, and what brings them up to date. Runs on the main thread.

A new version of the schema is a step that brings old files up to date, never an edit of what they already hold.
"""

import itertools
import logging

import peewee

from models.errors import DatabaseRefusedError
from models.sqlite.database import RetryingSqliteDatabase

_log = logging.getLogger("orders.schema")

APPLICATION_ID = 0x4F524452
"""Marks the file as ours (SQLite file format §1.3.8): "ORDR"."""
SCHEMA_VERSION = 3
_PENDING = peewee.SQL("status = 'Pending'")
_WAITING = peewee.SQL("status = 'Pending' AND due_us IS NOT NULL")
_PROCESSING = peewee.SQL("status = 'Processing'")
_COMPLETED = peewee.SQL("status = 'Completed'")
_FAILED = peewee.SQL("status = 'Failed'")
_CANCELLED = peewee.SQL("status = 'Cancelled'")
_BLOCK = peewee.SQL("sequence >> 11")
"""Which 2,048 orders, in the order of acceptance, an order is one of."""


_STEPS = (
    # From version 1 to 2: retries that wait, failed orders that can be found.
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
)
"""What brings a file from version n to n + 1, from n = 1 on."""


class OrderRow(peewee.Model):
    """One order. `sequence` is the row id, so that orders lie on disk in the order of acceptance.

    `due_us` is when a Pending order may be tried again; none: at once.
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

    class Meta:
        table_name = "orders"


OrderRow.add_index(OrderRow.index(OrderRow.order_id, unique=True, name="orders_order_id"))
# Partial indexes: they hold only the orders that are on their way or need a person, however many are done.
OrderRow.add_index(OrderRow.index(OrderRow.due_us, OrderRow.sequence, where=_PENDING, name="orders_pending"))
OrderRow.add_index(OrderRow.index(OrderRow.sequence, where=_WAITING, name="orders_waiting"))
OrderRow.add_index(OrderRow.index(OrderRow.sequence, where=_PROCESSING, name="orders_processing"))
OrderRow.add_index(OrderRow.index(OrderRow.sequence, where=_FAILED, name="orders_failed"))
# For listings. An index on the user first would have every new order change a page of its own, which goes into the log
# as a whole; with the block first, orders that come together change the same few pages, and who looks for a user's
# looks once into every block.
OrderRow.add_index(OrderRow.index(_BLOCK, OrderRow.user_id, name="orders_user"))
OrderRow.add_index(OrderRow.index(_BLOCK, OrderRow.created_us, name="orders_created"))
OrderRow.add_index(OrderRow.index(OrderRow.sequence, where=_COMPLETED, name="orders_completed"))
OrderRow.add_index(OrderRow.index(OrderRow.sequence, where=_CANCELLED, name="orders_cancelled"))


class TotalsRow(peewee.Model):
    """One row that changes in the same transaction as the orders it counts."""

    id = peewee.AutoField()
    pending = peewee.BigIntegerField(default=0)
    processing = peewee.BigIntegerField(default=0)
    completed = peewee.BigIntegerField(default=0)
    failed = peewee.BigIntegerField(default=0)
    cancelled = peewee.BigIntegerField(default=0)
    processing_us = peewee.BigIntegerField(default=0)

    class Meta:
        table_name = "totals"


def bring_up_to_date(database: RetryingSqliteDatabase) -> None:
    """Gives a database of ours today's tables, whatever it has of them; to be run in a transaction."""
    if database.user_version == 0:
        if database.application_id or database.execute_sql("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            # It was not so when it was looked at.
            raise DatabaseRefusedError("it has just become another program's database")
        with database.bind_ctx([OrderRow, TotalsRow]):
            database.create_tables([OrderRow, TotalsRow], safe=False)
            TotalsRow.create()
        database.application_id = APPLICATION_ID
    else:
        # Ten million orders take some fifteen seconds, which look like a start that hangs.
        _log.info("bringing the database from schema version %d to %d", database.user_version, SCHEMA_VERSION)
        for statement in itertools.chain.from_iterable(_STEPS[database.user_version - 1 :]):
            database.execute_sql(statement)
    database.user_version = SCHEMA_VERSION
