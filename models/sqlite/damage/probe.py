"""Tests whether orders can be written and read, and changes no order. Runs on the caller's thread."""

from models.errors import StorageDamagedError
from models.order import Status
from models.parsing.order_body import MAX_ID
from models.sqlite import statements
from models.sqlite.blocks import BlockChanges
from models.sqlite.damage.faults import storage_errors
from models.sqlite.database import RetryingSqliteDatabase
from models.sqlite.packed_orders import encode_packed_orders
from models.sqlite.schema.migrations import SCHEMA_VERSION
from models.sqlite.transaction import Transaction, find_orders
from models.wire import encode_numbers
from models.writes.insertion import NewOrder

LOWEST_ID = 0
"""An id that is lower than the id of any order."""


def probe_writes(transaction: Transaction) -> None:
    """Stores and claims two orders, with an unused low id and a high id, and undoes this. Then writes to disk."""
    database = transaction.database
    [highest_id] = database.execute_sql(statements.HIGHEST_ID).fetchone()
    order_ids = [LOWEST_ID, min((highest_id or LOWEST_ID) + 1, MAX_ID)]
    new_orders = encode_packed_orders([NewOrder(order_id, 1, [1], 1) for order_id in order_ids])
    with transaction.undone():
        parameters = (Status.PENDING, 0, 0, transaction.now_us, None, new_orders)
        cursor = database.execute_sql(statements.INSERT_PACKED, parameters)
        sequences = range(cursor.lastrowid - cursor.rowcount + 1, cursor.lastrowid + 1)
        database.execute_sql(statements.CLAIM_LISTED, (encode_numbers(list(sequences)),))
        blocks = BlockChanges()
        blocks.add_orders(sequences[0], len(sequences), transaction.now_us)
        blocks.write(database)
        database.execute_sql(statements.ADD_TO_TOTALS, (1, 1, 1, 1, 1, 1, 1, 1, 1))
    # Writes to disk although the version is the same. An UPDATE that changes no value would write nothing.
    database.execute_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")


def probe_reads(database: RetryingSqliteDatabase) -> None:
    """Reads the totals, and finds the newest order by its id; if this order is damaged, finds the oldest order."""
    with storage_errors():
        database.execute_sql(statements.TOTALS_WITHOUT_OLDEST).fetchone()
    try:
        _find(database, statements.NEWEST_ID)
    except StorageDamagedError:
        _find(database, statements.OLDEST_ID)


def _find(database: RetryingSqliteDatabase, query: str) -> None:
    with storage_errors():
        found = database.execute_sql(query).fetchone()
        find_orders(database, [LOWEST_ID, *(found or ())])
