"""Stores new orders in a write transaction. Runs on the thread that opened the transaction."""

from collections.abc import Sequence
from operator import attrgetter

from models.listing import HIGHEST
from models.order import Order, Status
from models.parsing.packed_orders import PackedOrders
from models.sqlite import statements
from models.sqlite.packed_orders import encode_packed_orders
from models.sqlite.transaction import Transaction
from models.transactions.insertion import admit, insert_results, with_known, with_rejected
from models.wire import encode_new_orders, encode_numbers
from models.writes.attempts import ClaimedOrders
from models.writes.claimed_run import ClaimedRun, claimed_orders
from models.writes.insertion import Insertion, InsertResult, NewOrder

_metadata_of = attrgetter("metadata")
_trace_headers_of = attrgetter("trace_headers")


def insert(
    transaction: Transaction, orders: Sequence[NewOrder], limit: int
) -> tuple[list[InsertResult], ClaimedOrders | None]:
    """Stores new orders. Also claims them if there are at most `limit` of them and no other order can be claimed.

    Claims no orders while processing is paused. If `transaction.room` is too small for all orders, stores only the
    first orders. An order whose id is already stored needs no room. An archived order is not stored again. Returns a
    result for each order, and the claimed orders. Returns None instead of the claimed orders if the new orders were
    stored as Pending.
    """
    known = transaction.find_fingerprints(_ids_of(orders)) if transaction.has_fingerprints else {}
    if not known:
        return _insert_admitted(transaction, orders, limit)
    new = [order for order in orders if order.order_id not in known]
    inserted, claimed = _insert_admitted(transaction, new, limit) if new else ([], None)
    return with_known(orders, known, inserted), claimed


def _insert_admitted(
    transaction: Transaction, orders: Sequence[NewOrder], limit: int
) -> tuple[list[InsertResult], ClaimedOrders | None]:
    if len(orders) <= transaction.room:
        return _insert_all(transaction, orders, limit)
    stored_ids = transaction.find([order.order_id for order in orders]).keys()
    admitted = admit(orders, stored_ids, room=transaction.room)
    inserted, claimed = _insert_all(transaction, admitted, limit) if admitted else ([], None)
    return with_rejected(orders, admitted, inserted), claimed


def _insert_all(
    transaction: Transaction, orders: Sequence[NewOrder], limit: int
) -> tuple[list[InsertResult], ClaimedOrders | None]:
    next_due_us = None
    is_claim = False
    if len(orders) <= limit and not transaction.is_paused:
        has_ready = False
        if transaction.has_pending:
            has_ready, next_due_us = transaction.database.execute_sql(statements.HAS_READY).fetchone()
        is_claim = not has_ready and not transaction.is_due(next_due_us)
    claims = int(is_claim)
    status = Status.PROCESSING if is_claim else Status.PENDING
    claimed_after_us = 0 if is_claim else None
    statement, text = _statement_for(orders)
    parameters = (status, claims, claims, transaction.wall_us, claimed_after_us, text)
    cursor = transaction.database.execute_sql(statement, parameters)
    inserted: int = cursor.rowcount
    transaction.inserted += inserted
    if is_claim:
        transaction.change.processing += inserted
    else:
        transaction.change.pending += inserted
    # One statement assigns consecutive sequences, so the new orders have the highest sequences of all.
    first = cursor.lastrowid - inserted + 1 if inserted else HIGHEST
    if inserted:
        transaction.blocks.add_orders(first, inserted, transaction.wall_us)
        if is_claim:
            transaction.blocks.claim(range(first, first + inserted))
    if inserted == len(orders):
        results: list[InsertResult] = [Insertion.ACCEPTED] * inserted
        if not is_claim:
            return results, None
        claimed: Sequence[Order] = (
            ClaimedRun(orders, first, transaction.wall_us)
            if isinstance(orders, PackedOrders)
            else claimed_orders(orders, range(first, first + inserted), transaction.wall_us)
        )
    else:
        stored = transaction.find([order.order_id for order in orders])
        new = {order_id: order for order_id, order in stored.items() if order.sequence >= first}
        results = insert_results(orders, stored, set(new))
        claimed = sorted(new.values(), key=lambda order: order.sequence)
    return results, ClaimedOrders(claimed, transaction.next_claim_us(next_due_us)) if is_claim else None


def _ids_of(orders: Sequence[NewOrder]) -> str:
    """The parameter of `Transaction.find_fingerprints`."""
    return orders.packed if isinstance(orders, PackedOrders) else encode_numbers([each.order_id for each in orders])


def _statement_for(orders: Sequence[NewOrder]) -> tuple[str, str]:
    """The statement that stores these orders, and the orders as JSON. Omits fields that none of the orders has."""
    if isinstance(orders, PackedOrders):
        return statements.INSERT_PACKED, orders.packed
    if any(map(_trace_headers_of, orders)):
        return statements.INSERT_WITH_ALL_FIELDS, encode_new_orders(orders)
    if any(map(_metadata_of, orders)):
        return statements.INSERT_WITH_METADATA, encode_new_orders(orders)
    return statements.INSERT_PACKED, encode_packed_orders(orders)
