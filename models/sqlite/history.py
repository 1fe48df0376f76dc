"""Reads the history of an order's attempts. Runs on the caller's thread."""

from models.order import AttemptRecord, Ending, Status
from models.sqlite import statements
from models.sqlite.database import RetryingSqliteDatabase
from models.sqlite.wire import decode_history


def read_history(database: RetryingSqliteDatabase, order_id: int) -> list[AttemptRecord] | None:
    """The attempts at the order, as `Store.history` documents."""
    found = database.execute_sql(statements.HISTORY, (order_id,)).fetchone()
    if found is None:
        return None
    status, number, claimed_us, processed_us, records = decode_history(found[0])
    if status is Status.PROCESSING:
        records.append(AttemptRecord(number, claimed_us, None, None, None))
    elif status is Status.COMPLETED:
        ended_us = None if processed_us is None else max(processed_us, claimed_us or 0)
        records.append(AttemptRecord(number, claimed_us, ended_us, Ending.COMPLETED, None))
    return records[-statements.MAX_RECORDED_ATTEMPTS :]
