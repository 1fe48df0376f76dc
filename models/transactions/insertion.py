"""Decides which new orders are stored, and what the result for each one is. Pure functions."""

from collections.abc import Mapping, Sequence, Set

from models.errors import BacklogFullError, OrderConflictError
from models.identity.fingerprint import fingerprint
from models.identity.same_order import is_same_order
from models.order import Order
from models.writes.insertion import Insertion, InsertResult, NewOrder


def admit(orders: Sequence[NewOrder], stored_ids: Set[int], *, room: int) -> list[NewOrder]:
    """The orders that can be stored if only `room` more orders fit. An order whose id is already stored needs no room.

    If an id occurs more than once in `orders`, all orders with this id are admitted, or none of them.
    """
    admitted_ids = set(stored_ids)
    last_size = len(admitted_ids) + room
    for order in orders:
        if len(admitted_ids) == last_size:
            break
        admitted_ids.add(order.order_id)
    return [order for order in orders if order.order_id in admitted_ids]


def with_rejected(
    orders: Sequence[NewOrder], admitted: Sequence[NewOrder], results: Sequence[InsertResult]
) -> list[InsertResult]:
    """A result for each order. `results` are the results of the admitted orders; the others get a BacklogFullError."""
    admitted_ids = {order.order_id for order in admitted}
    rest = iter(results)
    return [next(rest) if order.order_id in admitted_ids else BacklogFullError(order.order_id) for order in orders]


def with_known(
    orders: Sequence[NewOrder], fingerprints: Mapping[int, int], results: Sequence[InsertResult]
) -> list[InsertResult]:
    """A result for each order. `fingerprints` has the fingerprints of archived and erased orders.

    `results` are the results of the orders whose ids are not in `fingerprints`.
    """
    rest = iter(results)
    return [
        _known_result(order, fingerprints[order.order_id]) if order.order_id in fingerprints else next(rest)
        for order in orders
    ]


def _known_result(order: NewOrder, stored: int) -> InsertResult:
    return Insertion.REPLAYED if fingerprint(order) == stored else OrderConflictError(order.order_id)


def insert_results(orders: Sequence[NewOrder], stored: Mapping[int, Order], new: Set[int]) -> list[InsertResult]:
    """A result for each order.

    `stored` maps the ids of all these orders to the stored orders. `new` has the ids that this transaction stored.
    """
    results: list[InsertResult] = []
    accepted: set[int] = set()
    for order in orders:
        if order.order_id in new and order.order_id not in accepted:
            accepted.add(order.order_id)
            results.append(Insertion.ACCEPTED)
        elif is_same_order(order, stored[order.order_id]):
            results.append(Insertion.REPLAYED)
        else:
            results.append(OrderConflictError(order.order_id))
    return results
