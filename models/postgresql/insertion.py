"""Stores new orders in a write transaction. Runs on the thread that opened the transaction."""

from collections.abc import Callable, Mapping, Sequence

from psycopg.errors import SerializationFailure

from models.order import ERASED_USER
from models.postgresql import statements
from models.postgresql.connection.pipeline import Result
from models.postgresql.transaction import Transaction, one_row
from models.transactions.insertion import admit, insert_results, with_known, with_rejected
from models.wire import decode_numbers, encode_new_orders
from models.writes.attempts import ClaimedOrders
from models.writes.claimed_run import claimed_orders
from models.writes.insertion import Insertion, InsertResult, NewOrder

Inserted = tuple[list[InsertResult], ClaimedOrders | None]


def insert(transaction: Transaction, orders: Sequence[NewOrder], limit: int) -> Callable[[], Inserted]:
    """Stores new orders. Also claims them if there are at most `limit` of them and no other order can be claimed.

    There must be room for all orders. Returns a function that must be called when the results are needed. This function
    returns a result for each order, and the claimed orders, or None if the new orders were stored as Pending.
    """
    order_ids = [order.order_id for order in orders]
    result = transaction.execute(
        statements.INSERT,
        orders=encode_new_orders(orders),
        is_claim=len(orders) <= limit,
        node=transaction.node,
        floor=transaction.floor,
        wall_us=transaction.wall_us,
        database_us=transaction.database_us,
    )
    # The INSERT leaves archived orders out. If another server archives one of the orders at the same time, the
    # INSERT waits for its commit, and then stores the order. Only a later statement sees the fingerprint.
    fingerprints = transaction.find_fingerprints(order_ids) if transaction.is_archiving_announced else None
    return lambda: _results(transaction, orders, result, fingerprints)


def insert_admitted(transaction: Transaction, orders: Sequence[NewOrder], limit: int) -> Inserted:
    """Like `insert`, but if there is not enough room, stores only the first orders.

    An order whose id is already stored needs no room.
    """
    order_ids = [order.order_id for order in orders]
    stored_ids = transaction.find(order_ids).keys() | transaction.find_fingerprints(order_ids)().keys()
    admitted = admit(orders, stored_ids, room=transaction.room)
    inserted, claimed = insert(transaction, admitted, limit)() if admitted else ([], None)
    return with_rejected(orders, admitted, inserted), claimed


def _results(
    transaction: Transaction,
    orders: Sequence[NewOrder],
    result: Result,
    search: Callable[[], Mapping[int, int]] | None,
) -> Inserted:
    is_claim, inserted, next_due_us, first, sequences, is_archiving_announced = one_row(result)
    if is_archiving_announced and search is None:
        transaction.is_archiving_announced = True
        search = transaction.find_fingerprints(order.order_id for order in orders)
    fingerprints = search() if search else {}
    new: Sequence[int] = ()
    if inserted:
        new = range(first, first + inserted) if sequences is None else decode_numbers(sequences)
    transaction.inserted += inserted
    if is_claim:
        transaction.change.processing += inserted
    else:
        transaction.change.pending += inserted
    if inserted == len(orders) and not fingerprints:
        results: list[InsertResult] = [Insertion.ACCEPTED] * inserted
        if not is_claim:
            return results, None
        claimed = claimed_orders(orders, new, transaction.wall_us)
    else:
        stored = transaction.find(order.order_id for order in orders)
        if search is None and (erased := [each.order_id for each in stored.values() if each.user_id == ERASED_USER]):
            fingerprints = transaction.find_fingerprints(erased)()
        new_sequences = set(new)
        by_id = {order_id: order for order_id, order in stored.items() if order.sequence in new_sequences}
        if by_id.keys() & fingerprints.keys():
            raise SerializationFailure("another server has just archived one of these orders")
        rest = [order for order in orders if order.order_id not in fingerprints]
        results = with_known(orders, fingerprints, insert_results(rest, stored, by_id.keys()))
        claimed = sorted(by_id.values(), key=lambda order: order.sequence)
    if is_claim:
        if new:
            transaction.floor = new[-1] + 1
        transaction.claimed += claimed
        return results, ClaimedOrders(claimed, transaction.next_claim_us(next_due_us))
    return results, None
