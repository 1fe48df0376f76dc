"""Stores new orders in a write transaction. Runs on the thread that opened the transaction."""

from collections.abc import Callable, Sequence

from models.claimed_run import claimed_orders
from models.insertion import admit, insert_results, with_rejected
from models.postgresql import statements
from models.postgresql.connection.pipeline import Result
from models.postgresql.transaction import Transaction, one_row
from models.wire import decode_numbers, encode_new_orders
from models.writes import ClaimedOrders, Insertion, InsertResult, NewOrder

Inserted = tuple[list[InsertResult], ClaimedOrders | None]


def insert(transaction: Transaction, orders: Sequence[NewOrder], limit: int) -> Callable[[], Inserted]:
    """Stores new orders. Also claims them if there are at most `limit` of them and no other order can be claimed.

    There must be room for all orders. Returns a function that must be called when the results are needed. This function
    returns a result for each order, and the claimed orders, or None if the new orders were stored as Pending.
    """
    result = transaction.execute(
        statements.INSERT,
        orders=encode_new_orders(orders),
        is_claim=len(orders) <= limit,
        node=transaction.node,
        floor=transaction.floor,
        wall_us=transaction.wall_us,
        database_us=transaction.database_us,
    )
    return lambda: _results(transaction, orders, result)


def insert_admitted(transaction: Transaction, orders: Sequence[NewOrder], limit: int) -> Inserted:
    """Like `insert`, but if there is not enough room, stores only the first orders.

    An order whose id is already stored needs no room.
    """
    stored_ids = transaction.find(order.order_id for order in orders).keys()
    admitted = admit(orders, stored_ids, room=transaction.room)
    inserted, claimed = insert(transaction, admitted, limit)() if admitted else ([], None)
    return with_rejected(orders, admitted, inserted), claimed


def _results(transaction: Transaction, orders: Sequence[NewOrder], result: Result) -> Inserted:
    is_claim, inserted, next_due_us, first, sequences = one_row(result)
    new: Sequence[int] = ()
    if inserted:
        new = range(first, first + inserted) if sequences is None else decode_numbers(sequences)
    transaction.inserted += inserted
    if is_claim:
        transaction.change.processing += inserted
    else:
        transaction.change.pending += inserted
    if inserted == len(orders):
        results: list[InsertResult] = [Insertion.ACCEPTED] * inserted
        if not is_claim:
            return results, None
        claimed = claimed_orders(orders, new, transaction.wall_us)
    else:
        stored = transaction.find(order.order_id for order in orders)
        new_sequences = set(new)
        by_id = {order_id: order for order_id, order in stored.items() if order.sequence in new_sequences}
        results = insert_results(orders, stored, by_id.keys())
        claimed = sorted(by_id.values(), key=lambda order: order.sequence)
    if is_claim:
        if new:
            transaction.floor = new[-1] + 1
        transaction.claimed += claimed
        return results, ClaimedOrders(claimed, transaction.next_claim_us(next_due_us))
    return results, None
