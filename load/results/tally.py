"""Owns the count of what became of every order sent, on the event loop's thread."""

from array import array
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

MAX_REASON = 300


class Refusal(NamedTuple):
    """An order that was refused, and why, as the server says it."""

    order_id: int
    reason: str


class Tally:
    """What became of every order; `acknowledged` has the places in the source of all that are to be read back.

    Of those, `accepted` were new and `duplicates` there already: an answer to many orders says how many, not which.
    The others had a wrong 202. `examples` has the first refusal of each status that came with a reason, `wrong_202`
    what was wrong with how many orders' 202.
    """

    def __init__(self) -> None:
        self.acknowledged = array("q")
        self.accepted = 0
        self.duplicates = 0
        self.refused: Counter[int] = Counter()
        self.examples: dict[int, Refusal] = {}
        self.errors: Counter[str] = Counter()
        self.wrong_202: Counter[str] = Counter()

    def accept(self, index: int) -> None:
        self.acknowledged.append(index)
        self.accepted += 1

    def repeat(self, index: int) -> None:
        """Count a 202 for an order that the server had already."""
        self.acknowledged.append(index)
        self.duplicates += 1

    def refuse(self, status: int, order_id: int, reason: str, orders: int = 1) -> None:
        self.refused[status] += orders
        if reason and status not in self.examples:
            self.examples[status] = Refusal(order_id, reason[:MAX_REASON])

    def fail(self, reason: str, orders: int = 1) -> None:
        self.errors[reason] += orders

    def mistrust(self, reason: str, orders: int = 1, places: Iterable[int] = ()) -> None:
        """Count orders that got a wrong 202; those at `places` of the source it surely meant, so they are read back."""
        self.wrong_202[reason] += orders
        self.acknowledged.extend(places)

    @property
    def sent(self) -> int:
        others = self.refused.total() + self.errors.total() + self.wrong_202.total()
        return self.accepted + self.duplicates + others
