"""Which orders a server was sent, which it acknowledged and which were found. Values that the event loop writes.

One byte for each order, so that an hour of them takes a few MiB.
"""

from collections.abc import Iterable
from random import Random

from load.orders.generated import GeneratedOrders

UNSENT, SENT, ACKNOWLEDGED, FOUND = range(4)


class SentOrders:
    """The states of the orders of `orders`, by index from 0.

    An order whose request was not sent completely stays unsent: the server must not have it.
    """

    def __init__(self, orders: GeneratedOrders) -> None:
        self.orders = orders
        self.acknowledged = 0
        self._first_id = orders.order_id(0)
        self._states = bytearray()

    def __len__(self) -> int:
        return len(self._states)

    def take(self, count: int, *, is_sent: bool = False) -> range:
        """Return the indexes of that many orders that were not taken before, and note whether they are sent now."""
        first = len(self._states)
        self._states.extend(bytes([SENT if is_sent else UNSENT]) * count)
        return range(first, first + count)

    def note_sent(self, indexes: Iterable[int]) -> None:
        """Note that the server may have these orders from now on."""
        for index in indexes:
            self._states[index] = max(self._states[index], SENT)

    def note_acknowledged(self, indexes: Iterable[int]) -> None:
        """Note that the server has promised to keep these orders."""
        for index in indexes:
            self.acknowledged += self._states[index] < ACKNOWLEDGED
            self._states[index] = max(self._states[index], ACKNOWLEDGED)

    def note_found(self, order_id: int) -> bool:
        """Note that the server has the order; False if that was known already, or no such order was sent.

        An order without a response may be there, too.
        """
        index = self.index_of(order_id)
        if index is None or self._states[index] == FOUND:
            return False
        self._states[index] = FOUND
        return True

    def index_of(self, order_id: int) -> int | None:
        """Return the index of an order that was sent; None if no such order was."""
        index = order_id - self._first_id
        return index if 0 <= index < len(self._states) and self._states[index] != UNSENT else None

    @property
    def missing(self) -> int:
        """How many orders were acknowledged and not found."""
        return self._states.count(ACKNOWLEDGED)

    def acknowledged_indexes(self) -> list[int]:
        """Return the indexes of all orders that were acknowledged and not found."""
        return [index for index, state in enumerate(self._states) if state == ACKNOWLEDGED]

    def any_acknowledged(self, chance: Random) -> int | None:
        """Return the index of a random order that was acknowledged and not found; None if there is none."""
        if not self._states:
            return None
        found = self._states.find(ACKNOWLEDGED, chance.randrange(len(self._states)))
        if found < 0:
            found = self._states.find(ACKNOWLEDGED)
        return found if found >= 0 else None
