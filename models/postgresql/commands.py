"""In a write transaction, makes changes that clients request: cancels and retries of orders, and pauses of processing.

Runs on the thread that opened the transaction.
"""

from collections.abc import Sequence

from models.errors import OrderArchivedError, WrongStatusError
from models.listing import HIGHEST, LOWEST
from models.order import Status
from models.postgresql import statements
from models.postgresql.transaction import Transaction, array, one_row
from models.transactions.commands import CAN_BE_RETRIED, can_be_retried, rest_of, wrong_status
from models.wire import decode_numbers, decode_order_ids
from models.writes.attempts import storable_text
from models.writes.commands import Cancel, RetriedOrders, Retry, RetryOrders, RetrySelection, SetPaused, StatusChanged

CommandResult = StatusChanged | WrongStatusError | OrderArchivedError | None


def cancel(transaction: Transaction, cancels: Sequence[Cancel]) -> list[CommandResult]:
    """Makes Pending orders Cancelled. Returns a result for each write, as `Cancel` documents."""
    order_ids = [each.order_id for each in cancels]
    candidates = [each.sequence for each in transaction.find(order_ids).values() if each.status is Status.PENDING]
    cancelled = set(_change(transaction, statements.CANCEL, candidates))
    transaction.change.pending -= len(cancelled)
    transaction.change.cancelled += len(cancelled)
    stored = transaction.find(order_ids)
    results: list[CommandResult] = []
    for order_id in order_ids:
        order = stored.get(order_id)
        if order and order.status is Status.CANCELLED:
            results.append(StatusChanged(order, Status.PENDING if order.sequence in cancelled else order.status))
            cancelled.discard(order.sequence)
        else:
            results.append(wrong_status(order, needed=Status.PENDING))
    return transaction.with_archived(order_ids, results)


def retry(transaction: Transaction, retries: Sequence[Retry]) -> list[CommandResult]:
    """Makes Failed orders Pending. If orders wait for a retry, makes them ready. Returns a result for each write."""
    order_ids = [each.order_id for each in retries]
    candidates = [each for each in transaction.find(order_ids).values() if can_be_retried(each)]
    # If the batch has two retries of one order, the second fails, because the order is Pending and ready by then.
    retried: dict[int, Status] = {}
    for status in (Status.FAILED, Status.PENDING):
        sequences = [each.sequence for each in candidates if each.status is status]
        retried |= dict.fromkeys(_retry(transaction, status, sequences), status)
    stored = transaction.find(order_ids)
    results: list[CommandResult] = []
    for order_id in order_ids:
        order = stored.get(order_id)
        before = retried.pop(order.sequence, None) if order else None
        if order and before:
            results.append(StatusChanged(order, before))
        else:
            results.append(wrong_status(order, needed=CAN_BE_RETRIED))
    return transaction.with_archived(order_ids, results)


def retry_selected(transaction: Transaction, commands: Sequence[RetryOrders]) -> list[RetriedOrders]:
    """Retries orders of each selection, oldest first. Returns a result for each command: see `RetryOrders`."""
    return [_retry_selected(transaction, command.selection, command.limit) for command in commands]


def set_paused(transaction: Transaction, commands: Sequence[SetPaused]) -> list[bool]:
    """Pauses or resumes processing. Returns a result for each command, as `SetPaused` documents."""
    results = []
    for command in commands:
        [changed] = one_row(transaction.execute(statements.SET_PAUSED, paused=command.is_paused))
        results.append(changed)
        transaction.is_paused = command.is_paused
    return results


def _retry_selected(transaction: Transaction, selection: RetrySelection, limit: int) -> RetriedOrders:
    is_failed = selection.status is Status.FAILED
    from_us, until_us = selection.created_from_us, selection.created_until_us
    found, last_examined, examined, newest = one_row(
        transaction.execute(
            statements.NEXT_FAILED if is_failed else statements.NEXT_WAITING,
            error=None if selection.error is None else storable_text(selection.error),
            created_from_us=LOWEST if from_us is None else from_us,
            created_until_us=HIGHEST if until_us is None else until_us,
            after=selection.after,
            last=HIGHEST if selection.last is None else selection.last,
            limit=limit,
        )
    )
    selected = decode_order_ids(found)
    changed = set(_retry(transaction, selection.status, [each.sequence for each in selected]))
    rest = rest_of(selection, is_whole=examined < limit, last_examined=last_examined, newest=newest)
    return RetriedOrders([each for each in selected if each.sequence in changed], rest)


def _retry(transaction: Transaction, status: Status, sequences: Sequence[int]) -> list[int]:
    """Makes these orders ready. Returns the sequences of the orders that still had this status.

    `status` is Failed, or Pending for orders that wait for a retry.
    """
    if not sequences:
        return []
    transaction.note_ready(sequences)
    if status is Status.PENDING:
        return _change(transaction, statements.MAKE_DUE_NOW, sequences)
    changed = _change(transaction, statements.RETRY_FAILED, sequences)
    transaction.change.failed -= len(changed)
    transaction.change.pending += len(changed)
    return changed


def _change(transaction: Transaction, statement: str, sequences: Sequence[int]) -> list[int]:
    """Executes a statement that changes orders. Returns the sequences of the orders that it changed."""
    if not sequences:
        return []
    [found] = one_row(transaction.execute(statement, sequences=array(sequences)))
    return decode_numbers(found)
