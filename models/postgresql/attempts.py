"""Claims orders (makes them Processing) and records how attempts ended, in a write transaction.

Runs on the thread that opened the transaction.
"""

from collections.abc import Callable, Sequence

from models.batch import first_outcomes
from models.history import MAX_RECORDED_ATTEMPTS
from models.order import Order, Status
from models.postgresql import statements
from models.postgresql.transaction import Transaction, array, one_row
from models.wire import decode_orders, encode_outcomes
from models.writes import ClaimedOrders, Outcome


def finish(transaction: Transaction, outcomes: Sequence[Outcome], *, node: int | None = None) -> Callable[[], None]:
    """Records how attempts ended. An outcome changes nothing if its attempt has already ended.

    `node` is the server that made the attempts; None is this server. Returns a function that must be called when the
    results of the statements are needed: it adds them to the changes of the totals.
    """
    parameters = {"node": transaction.node if node is None else node, **transaction.own_time}
    first = first_outcomes(outcomes)
    completed = [each for each in first if each.status is Status.COMPLETED]
    others = [each for each in first if each.status is not Status.COMPLETED]
    completion = end = None
    if completed:
        completion = transaction.execute(
            statements.COMPLETE,
            sequences=array(each.sequence for each in completed),
            claims=array(each.claim for each in completed),
            **parameters,
        )
    if others:
        stored = [transaction.database_time.with_database_due_time(each.with_storable_error()) for each in others]
        end = transaction.execute(statements.END, outcomes=encode_outcomes(stored), **parameters)
        if old := [each.sequence for each in others if each.ending and each.claim > MAX_RECORDED_ATTEMPTS]:
            transaction.execute(statements.DELETE_OLD_ATTEMPTS, sequences=array(old))
        transaction.floor = 0

    def add_results() -> None:
        change = transaction.change
        if completion:
            count, processing_us = one_row(completion)
            change.completed += count
            change.processing -= count
            change.processing_us += processing_us
        if end:
            failed, pending = one_row(end)
            change.failed += failed
            change.pending += pending
            change.processing -= failed + pending

    return add_results


def claim(transaction: Transaction, limit: int) -> ClaimedOrders:
    """Makes due retries ready, then claims up to `limit` ready orders, oldest first.

    An order is ready if it is Pending and does not wait for a retry. Does nothing while processing is paused. If more
    than `transaction.max_made_ready` retries are due, claims no order, because the oldest order can be among the orders
    that are not ready yet. In this case, the `next_due_us` of the result is in the past, so that the caller claims
    again at once.
    """
    claimed, next_due_us, transaction.is_paused = _claim(transaction, limit)
    if transaction.is_paused:
        return ClaimedOrders([])
    if transaction.is_due(next_due_us):
        [ready] = one_row(
            transaction.execute(
                statements.MAKE_READY, database_us=transaction.database_us, limit=transaction.max_made_ready
            )
        )
        transaction.floor = 0
        # If none was made ready, another server is making them ready.
        claimed, next_due_us, _ = _claim(transaction, limit, even_if_due=not ready)
    if claimed:
        transaction.floor = claimed[-1].sequence + 1
        transaction.claimed += claimed
    transaction.change.pending -= len(claimed)
    transaction.change.processing += len(claimed)
    return ClaimedOrders(claimed, transaction.next_claim_us(next_due_us))


def _claim(transaction: Transaction, limit: int, *, even_if_due: bool = False) -> tuple[list[Order], int | None, bool]:
    """Claims up to `limit` ready orders, oldest first. Claims none if a retry is due, unless `even_if_due` is true.

    Returns the orders, the due time of the next retry, and whether processing is paused, so that no order was claimed.
    """
    found, next_due_us, is_paused = one_row(
        transaction.execute(
            statements.CLAIM,
            node=transaction.node,
            limit=limit,
            floor=transaction.floor,
            database_us=transaction.database_us,
            even_if_due=even_if_due,
            **transaction.own_time,
        )
    )
    return decode_orders(found), next_due_us, is_paused
