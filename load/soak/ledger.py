"""Owns which orders a soak has sent, and what is known of each; on the event loop's thread.

A byte an order, so that an hour takes a few MiB.
"""

from random import Random

from load.orders import GeneratedOrders

SENT, ACKNOWLEDGED, FOUND = 0, 1, 2


class Ledger:
    """Orders by their place in `source`, given out one after another."""

    def __init__(self, source: GeneratedOrders) -> None:
        self.source = source
        self._marks = bytearray()
        self._acknowledged = 0

    @property
    def sent(self) -> int:
        return len(self._marks)

    @property
    def acknowledged(self) -> int:
        return self._acknowledged

    def take(self) -> int:
        """Give the place of an order that was not sent before, which counts as sent from now on."""
        self._marks.append(SENT)
        return len(self._marks) - 1

    def acknowledge(self, index: int) -> None:
        """Note that the server has promised to keep the order."""
        self._marks[index] = ACKNOWLEDGED
        self._acknowledged += 1

    def find(self, order_id: int) -> bool:
        """Note that the server has the order; False where that was known already or no such order was sent.

        One whose answer did not arrive may be there, too.
        """
        index = order_id - self.source.order_id(0)
        if not 0 <= index < len(self._marks) or self._marks[index] == FOUND:
            return False
        self._marks[index] = FOUND
        return True

    @property
    def missing(self) -> int:
        """How many were acknowledged and not found."""
        return self._marks.count(ACKNOWLEDGED)

    def any_acknowledged(self, chance: Random) -> int:
        """Give the place of one that was acknowledged, each as likely as the others; there must be one."""
        if not self._acknowledged:
            raise ValueError("no order was acknowledged")
        while True:
            index = chance.randrange(len(self._marks))
            if self._marks[index] != SENT:
                return index
