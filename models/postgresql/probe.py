"""Tests whether orders can be written and read, and changes no order. Runs on the caller's thread."""

import secrets
from collections.abc import Mapping

from models.order import Status
from models.postgresql import statements
from models.postgresql.attempts import finish
from models.postgresql.connection.database import RetryingPostgresqlDatabase
from models.postgresql.insertion import insert
from models.postgresql.transaction import Transaction, find_orders
from models.transactions.totals_change import TotalsChange
from models.writes.attempts import Outcome
from models.writes.insertion import NewOrder

LOWEST_ID = 0
"""An id that is lower than the id of any order."""
_METADATA_CHARACTERS = 16_000
"""The probe stores an order that is almost as large as possible: on a full disk, a small order can still find space."""


def probe_writes(transaction: Transaction) -> None:
    """Stores, claims and ends a large order with an unused id, and undoes this. The commit writes to disk.

    Each transaction renews the lease of this server, so this commit contains a change.
    """
    floor = transaction.floor
    transaction.execute("SAVEPOINT probe")
    # Random, because PostgreSQL compresses large values.
    order = NewOrder(LOWEST_ID, 1, [1], 1, secrets.token_hex(_METADATA_CHARACTERS // 2))
    _, claimed = insert(transaction, [order], 1)()
    if claimed:
        finish(transaction, [Outcome(order.sequence, 1, Status.COMPLETED) for order in claimed.orders])()
    transaction.execute("ROLLBACK TO SAVEPOINT probe")
    transaction.execute("RELEASE SAVEPOINT probe")
    transaction.change = TotalsChange()
    transaction.claimed = []
    transaction.inserted = 0
    transaction.floor = floor


def probe_reads(database: RetryingPostgresqlDatabase, values: Mapping[str, int]) -> None:
    """Reads the totals, and finds the newest order by its id. `values` are the parameters of the statement TOTALS."""
    database.execute_sql(statements.TOTALS, values).fetchone()
    newest = database.execute_sql(statements.NEWEST_ID).fetchone()
    find_orders(database.psycopg_connection, [LOWEST_ID, *(newest or ())])
