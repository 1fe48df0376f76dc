"""New orders that were claimed together, by the commit that stored them. Usable on any thread."""

from collections.abc import Iterable, Sequence

from models.order import Order, Status
from models.writes.insertion import NewOrder
from models.writes.lazy_sequence import LazySequence

FIRST_CLAIM = 1
"""The number of the first attempt at an order, as in `Order.claims` and `Order.attempts`."""
# A constant, because reading `Status.PROCESSING` takes longer than all other work of the loop that uses it.
_PROCESSING = Status.PROCESSING


class ClaimedRun(LazySequence[Order]):
    """New orders with consecutive `sequences` that were stored at `created_us` and claimed for their first attempts.

    Makes an Order of each order only if somebody reads the orders. Only a store that a single server uses claims runs.
    """

    def __init__(self, orders: Sequence[NewOrder], first: int, created_us: int) -> None:
        self.sequences = range(first, first + len(orders))
        self.created_us = created_us
        self._new = orders

    def __len__(self) -> int:
        return len(self.sequences)

    def _make(self) -> list[Order]:
        return claimed_orders(self._new, self.sequences, self.created_us)


def claimed_orders(orders: Iterable[NewOrder], sequences: Iterable[int], created_us: int) -> list[Order]:
    """The orders as they are stored by a commit that also claims them for their first attempts."""
    # One expression, because a call for each order would double the time.
    return [
        Order(
            sequence,
            order.order_id,
            order.user_id,
            order.item_ids,
            order.total_amount,
            order.metadata,
            _PROCESSING,
            FIRST_CLAIM,
            FIRST_CLAIM,
            None,
            created_us,
            None,
            None,
            order.trace_headers,
        )
        for order, sequence in zip(orders, sequences, strict=True)
    ]
