"""The two tables, as Peewee models. They belong to no thread: connections do.

A new version of the schema is a step added to `models.database`, never an edit of what old files already hold.
"""

import peewee

PENDING = peewee.SQL("status = 'Pending'")
PROCESSING = peewee.SQL("status = 'Processing'")


class OrderRow(peewee.Model):
    """One order. `sequence` is the row id, so that orders lie on disk in the order of acceptance."""

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

    class Meta:
        table_name = "orders"


OrderRow.add_index(OrderRow.index(OrderRow.order_id, unique=True, name="orders_order_id"))
# Partial indexes: they hold only the orders that are on their way, however many are done.
OrderRow.add_index(OrderRow.index(OrderRow.sequence, where=PENDING, name="orders_pending"))
OrderRow.add_index(OrderRow.index(OrderRow.sequence, where=PROCESSING, name="orders_processing"))


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
