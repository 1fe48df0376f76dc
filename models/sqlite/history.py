"""Reads the history of an order's attempts. Runs on the caller's thread."""

from models.order import AttemptRecord
from models.sqlite import statements
from models.sqlite.database import RetryingSqliteDatabase
from models.transactions.history import whole_history
from models.wire import decode_history


def read_history(database: RetryingSqliteDatabase, order_id: int) -> list[AttemptRecord] | None:
    """The attempts at the order, as `Store.history` documents."""
    found = database.execute_sql(statements.HISTORY, (order_id,)).fetchone()
    if found is None:
        return None
    return whole_history(*decode_history(found[0]))
