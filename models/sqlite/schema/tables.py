"""The tables and indexes of a new file, as Peewee models.

To change the schema, change the models, and add a migration to `models/sqlite/schema/migrations.py`.
"""

from typing import Any, cast

import peewee

APPLICATION_ID = 0x4F524452
"""Identifies the file as a database of this program: "ORDR" (SQLite file format §1.3.8)."""
_PENDING = peewee.SQL("status = 'Pending'")
_WAITING = peewee.SQL("status = 'Pending' AND due_us IS NOT NULL")
_FAILED = peewee.SQL("status = 'Failed'")
_CANCELLED = peewee.SQL("status = 'Cancelled'")
_BLOCK = peewee.SQL("sequence >> 11")
"""The number of an order's block: 2,048 orders with consecutive sequences. See `models/sqlite/blocks.py`."""


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


TABLES = (OrderRow, TotalsRow, AttemptRow, BlockRow, MeasurementRow, FingerprintRow, ArchiveRow)
