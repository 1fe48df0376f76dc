"""Owns which orders a shop has been sent and which it acknowledged, a byte an order; on the event loop's thread."""

from collections.abc import Iterable
from random import Random

from load.orders import GeneratedOrders

UNSENT, SENT, ACKNOWLEDGED = range(3)
TRIES = 8
FIRST_ID_BITS = 62


class Ledger:
    """Orders by index, from 0 on; their ids and values follow from the seed and the shop's name.

    `orders` gives them. One whose request was never sent as a whole stays unsent: nobody may store it.
    """

    def __init__(self, *, seed: int, name: str) -> None:
        first_id = 1 + Random(f"ids {seed} {name}").getrandbits(FIRST_ID_BITS)
        self.orders = GeneratedOrders(first_id=first_id, count=1 << 40)
        self.acknowledged = 0
        self._first_id = first_id
        self._states = bytearray()

    def __len__(self) -> int:
        return len(self._states)

    def take(self, count: int) -> range:
        """Give the indexes of so many orders that nobody has had."""
        first = len(self._states)
        self._states.extend(bytes(count))
        return range(first, first + count)

    def note_sent(self, indexes: Iterable[int]) -> None:
        """Note that the shop may have them from now on."""
        for index in indexes:
            self._states[index] = max(self._states[index], SENT)

    def note_acknowledged(self, indexes: Iterable[int]) -> None:
        """Note that the shop has promised to have them."""
        for index in indexes:
            self.acknowledged += self._states[index] != ACKNOWLEDGED
            self._states[index] = ACKNOWLEDGED

    def index_of(self, order_id: int) -> int | None:
        """Give the index of an order that was sent; None for a stranger."""
        index = order_id - self._first_id
        return index if 0 <= index < len(self._states) and self._states[index] != UNSENT else None

    def acknowledged_indexes(self) -> list[int]:
        return [index for index, state in enumerate(self._states) if state == ACKNOWLEDGED]

    def any_acknowledged(self, chance: Random) -> int | None:
        """Give the index of an acknowledged order at random; None where none was found soon."""
        for _ in range(TRIES if self._states else 0):
            index = chance.randrange(len(self._states))
            if self._states[index] == ACKNOWLEDGED:
                return index
        return None
