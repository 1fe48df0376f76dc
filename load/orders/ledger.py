"""Owns which orders a server was sent, which it acknowledged and which were found; on the event loop's thread.

A byte an order, so that an hour of them takes a few MiB.
"""

from collections.abc import Iterable
from random import Random

from load.orders.generated import GeneratedOrders

UNSENT, SENT, ACKNOWLEDGED, FOUND = range(4)
TRIES = 8


class Ledger:
    """Orders by index, from 0 on, which are those that `orders` gives.

    One whose request was never sent as a whole stays unsent: nobody may store it.
    """

    def __init__(self, orders: GeneratedOrders) -> None:
        self.orders = orders
        self.acknowledged = 0
        self._first_id = orders.order_id(0)
        self._states = bytearray()

    def __len__(self) -> int:
        return len(self._states)

    def take(self, count: int) -> range:
        """Give the indexes of so many orders that nobody has had."""
        first = len(self._states)
        self._states.extend(bytes(count))
        return range(first, first + count)

    def note_sent(self, indexes: Iterable[int]) -> None:
        """Note that the server may have them from now on."""
        for index in indexes:
            self._states[index] = max(self._states[index], SENT)

    def note_acknowledged(self, indexes: Iterable[int]) -> None:
        """Note that the server has promised to have them."""
        for index in indexes:
            self.acknowledged += self._states[index] < ACKNOWLEDGED
            self._states[index] = max(self._states[index], ACKNOWLEDGED)

    def note_found(self, order_id: int) -> bool:
        """Note that the server has the order; False where that was known already or no such order was sent.

        One whose answer did not arrive may be there, too.
        """
        index = self.index_of(order_id)
        if index is None or self._states[index] == FOUND:
            return False
        self._states[index] = FOUND
        return True

    def index_of(self, order_id: int) -> int | None:
        """Give the index of an order that was sent; None for a stranger."""
        index = order_id - self._first_id
        return index if 0 <= index < len(self._states) and self._states[index] != UNSENT else None

    @property
    def missing(self) -> int:
        """How many were acknowledged and not found."""
        return self._states.count(ACKNOWLEDGED)

    def acknowledged_indexes(self) -> list[int]:
        """Give all that were acknowledged and not found."""
        return [index for index, state in enumerate(self._states) if state == ACKNOWLEDGED]

    def any_acknowledged(self, chance: Random) -> int | None:
        """Give the index of an order at random that was acknowledged and not found; None where there is none."""
        if not self._states:
            return None
        for _ in range(TRIES):
            index = chance.randrange(len(self._states))
            if self._states[index] == ACKNOWLEDGED:
                return index
        # They are rare: the next one, or the first.
        found = self._states.find(ACKNOWLEDGED, index)
        return (found if found >= 0 else self._states.find(ACKNOWLEDGED)) if self.missing else None
