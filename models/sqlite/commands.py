"""Cancels and retries orders on request, in a write transaction. Runs on the thread that opened the transaction."""

from collections.abc import Sequence

from models.errors import WrongStatusError
from models.order import Order, Status
from models.sqlite import statements
from models.sqlite.transaction import Transaction
from models.sqlite.wire import decode_order_ids, encode_numbers
from models.writes import Cancel, RetriedOrders, Retry, RetryFailedOrders, StatusChanged


def cancel(transaction: Transaction, cancels: Sequence[Cancel]) -> list[StatusChanged | WrongStatusError | None]:
    """Makes Pending orders Cancelled. Returns a result for each write, as `Cancel` documents."""
    order_ids = [each.order_id for each in cancels]
    pending = _with_status(transaction, Status.PENDING, order_ids)
    transaction.database.execute_sql(statements.CANCEL, (encode_numbers(list(pending.values())),))
    transaction.change.pending -= len(pending)
    transaction.change.cancelled += len(pending)
    stored = transaction.find(order_ids)
    return [
        StatusChanged(order, Status.PENDING if pending.pop(order_id, None) else order.status)
        if order and order.status is Status.CANCELLED
        else _wrong_status(order, needed=Status.PENDING)
        for order_id, order in ((each, stored.get(each)) for each in order_ids)
    ]


def retry(transaction: Transaction, retries: Sequence[Retry]) -> list[StatusChanged | WrongStatusError | None]:
    """Makes Failed orders Pending. Returns a result for each write, as `Retry` documents."""
    order_ids = [each.order_id for each in retries]
    failed = _with_status(transaction, Status.FAILED, order_ids)
    _retry(transaction, list(failed.values()))
    stored = transaction.find(order_ids)
    # If the batch has two retries of one order, the second fails, because the order is Pending by then.
    return [
        StatusChanged(order, Status.FAILED)
        if order and failed.pop(order_id, None)
        else _wrong_status(order, needed=Status.FAILED)
        for order_id, order in ((each, stored.get(each)) for each in order_ids)
    ]


def retry_failed(transaction: Transaction, commands: Sequence[RetryFailedOrders]) -> list[RetriedOrders]:
    """Makes the next Failed orders Pending. Returns a result for each command, as `RetryFailedOrders` documents."""
    results = []
    for command in commands:
        [found] = transaction.database.execute_sql(statements.NEXT_FAILED, (command.after, command.limit)).fetchone()
        orders = decode_order_ids(found)
        _retry(transaction, [order.sequence for order in orders])
        results.append(RetriedOrders(orders, orders[-1].sequence if orders else command.after))
    return results


def _with_status(transaction: Transaction, status: Status, order_ids: Sequence[int]) -> dict[int, int]:
    """The sequences of the orders that have this status, by id."""
    stored = transaction.find(order_ids)
    return {order_id: order.sequence for order_id, order in stored.items() if order.status is status}


def _retry(transaction: Transaction, sequences: Sequence[int]) -> None:
    transaction.database.execute_sql(statements.RETRY_BY_REQUEST, (encode_numbers(sequences),))
    transaction.change.failed -= len(sequences)
    transaction.change.pending += len(sequences)


def _wrong_status(order: Order | None, *, needed: Status) -> WrongStatusError | None:
    return None if order is None else WrongStatusError(order.order_id, status=order.status, needed=needed)
