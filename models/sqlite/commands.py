"""In a write transaction, makes changes that clients request: cancels and retries of orders, and pauses of processing.

Runs on the thread that opened the transaction.
"""

from collections.abc import Sequence

from models.errors import OrderArchivedError, WrongStatusError
from models.listing import HIGHEST, LOWEST
from models.order import Status
from models.sqlite import statements
from models.sqlite.transaction import Transaction
from models.transactions.commands import CAN_BE_RETRIED, can_be_retried, rest_of, wrong_status
from models.wire import decode_numbers, decode_order_ids, encode_numbers
from models.writes.commands import Cancel, RetriedOrders, Retry, RetryOrders, RetrySelection, SetPaused, StatusChanged

CommandResult = StatusChanged | WrongStatusError | OrderArchivedError | None


def cancel(transaction: Transaction, cancels: Sequence[Cancel]) -> list[CommandResult]:
    """Makes Pending orders Cancelled. Returns a result for each write, as `Cancel` documents."""
    order_ids = [each.order_id for each in cancels]
    pending = _with_status(transaction, Status.PENDING, order_ids)
    transaction.database.execute_sql(statements.CANCEL, (encode_numbers(list(pending.values())),))
    transaction.change.pending -= len(pending)
    transaction.change.cancelled += len(pending)
    stored = transaction.find(order_ids)
    results: list[CommandResult] = [
        StatusChanged(order, Status.PENDING if pending.pop(order_id, None) else order.status)
        if order and order.status is Status.CANCELLED
        else wrong_status(order, needed=Status.PENDING)
        for order_id, order in ((each, stored.get(each)) for each in order_ids)
    ]
    return transaction.with_archived(order_ids, results)


def retry(transaction: Transaction, retries: Sequence[Retry]) -> list[CommandResult]:
    """Makes Failed orders Pending. If orders wait for a retry, makes them ready. Returns a result for each write."""
    order_ids = [each.order_id for each in retries]
    # If the batch has two retries of one order, the second fails, because the order is Pending and ready by then.
    retried = {each.order_id: each for each in transaction.find(order_ids).values() if can_be_retried(each)}
    for status in (Status.FAILED, Status.PENDING):
        _retry(transaction, status, [each.sequence for each in retried.values() if each.status is status])
    stored = transaction.find(order_ids)
    results: list[CommandResult] = [
        StatusChanged(order, before.status)
        if order and (before := retried.pop(order_id, None))
        else wrong_status(order, needed=CAN_BE_RETRIED)
        for order_id, order in ((each, stored.get(each)) for each in order_ids)
    ]
    return transaction.with_archived(order_ids, results)


def retry_selected(transaction: Transaction, commands: Sequence[RetryOrders]) -> list[RetriedOrders]:
    """Retries orders of each selection, oldest first. Returns a result for each command: see `RetryOrders`."""
    return [_retry_selected(transaction, command.selection, command.limit) for command in commands]


def _retry_selected(transaction: Transaction, selection: RetrySelection, limit: int) -> RetriedOrders:
    statement = statements.NEXT_FAILED if selection.status is Status.FAILED else statements.NEXT_WAITING
    from_us, until_us = selection.created_from_us, selection.created_until_us
    parameters = {
        "error": selection.error,
        "created_from_us": LOWEST if from_us is None else from_us,
        "created_until_us": HIGHEST if until_us is None else until_us,
        "after": selection.after,
        "last": HIGHEST if selection.last is None else selection.last,
        "limit": limit,
    }
    found, last_examined, examined, newest = transaction.database.execute_sql(statement, parameters).fetchone()
    orders = decode_order_ids(found)
    _retry(transaction, selection.status, [order.sequence for order in orders])
    rest = rest_of(selection, is_whole=examined < limit, last_examined=last_examined, newest=newest)
    return RetriedOrders(orders, rest)


def retry_candidates(transaction: Transaction, command: RetryOrders) -> tuple[list[int], int]:
    """The sequences of the orders that `retry_selected` would examine, and the sequence of the newest order.

    Reads only indexes and sequences, because the orders can be damaged.
    """
    selection = command.selection
    is_failed = selection.status is Status.FAILED
    statement = statements.FAILED_CANDIDATES if is_failed else statements.WAITING_CANDIDATES
    last = HIGHEST if selection.last is None else selection.last
    parameters = (selection.after, last, command.limit)
    [found] = transaction.database.execute_sql(statement, parameters).fetchone()
    [newest] = transaction.database.execute_sql(statements.LAST_SEQUENCE).fetchone()
    return decode_numbers(found), newest


def set_paused(transaction: Transaction, commands: Sequence[SetPaused]) -> list[bool]:
    """Pauses or resumes processing. Returns a result for each command, as `SetPaused` documents."""
    results = []
    for command in commands:
        is_change = command.is_paused is not transaction.is_paused
        if is_change:
            transaction.database.execute_sql(statements.SET_PAUSED, (int(command.is_paused),))
            transaction.is_paused = command.is_paused
        results.append(is_change)
    return results


def _with_status(transaction: Transaction, status: Status, order_ids: Sequence[int]) -> dict[int, int]:
    """Maps the ids of the orders that have this status to their sequences. Omits all other orders."""
    stored = transaction.find(order_ids)
    return {order_id: order.sequence for order_id, order in stored.items() if order.status is status}


def _retry(transaction: Transaction, status: Status, sequences: Sequence[int]) -> None:
    """Makes these orders ready. `status` is their status: Failed, or Pending if they wait for a retry."""
    if not sequences:
        return
    if status is Status.PENDING:
        transaction.database.execute_sql(statements.MAKE_DUE_NOW, (encode_numbers(sequences),))
        return
    transaction.database.execute_sql(statements.RETRY_BY_REQUEST, (encode_numbers(sequences),))
    transaction.change.failed -= len(sequences)
    transaction.change.pending += len(sequences)
