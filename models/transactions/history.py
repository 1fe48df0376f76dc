"""The history of an order's attempts. Pure functions."""

from collections.abc import Sequence

from models.order import AttemptRecord, Ending, Status

MAX_RECORDED_ATTEMPTS = 50
"""The history of an order contains at most this number of attempts: the newest ones."""


def whole_history(
    status: Status, number: int, claimed_us: int | None, processed_us: int | None, records: Sequence[AttemptRecord]
) -> list[AttemptRecord]:
    """The history of an order, as `Store.history` documents.

    `records` are the attempts that are stored in the table of attempts, oldest first. The last attempt has no row there
    while it is running, or if it completed the order. Its record is made from the other parameters, which are values of
    the order: the status, `attempts`, the time of the latest claim, and `processed_us`.
    """
    history = list(records)
    if status is Status.PROCESSING:
        history.append(AttemptRecord(number, claimed_us, None, None, None))
    elif status is Status.COMPLETED:
        ended_us = None if processed_us is None else max(processed_us, claimed_us or 0)
        history.append(AttemptRecord(number, claimed_us, ended_us, Ending.COMPLETED, None))
    return history[-MAX_RECORDED_ATTEMPTS:]
