"""Counts of what happened to every order sent. Values that the event loop writes."""

from array import array
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

MAX_REASON = 300


class Refusal(NamedTuple):
    """An order that was refused, and the reason that the server gave."""

    order_id: int
    reason: str


class Tally:
    """Counts of orders; `acknowledged` has the places in the source of all orders that are to be read back.

    Of those, `accepted` were new and `duplicates` were there already: a bulk response says how many, not which. The
    others had a wrong 202; `wrong_202` counts those by what was wrong. `examples` has the first refusal of each status
    that came with a reason.
    """

    def __init__(self) -> None:
        self.acknowledged = array("q")
        self.accepted = 0
        self.duplicates = 0
        self.refused: Counter[int] = Counter()
        self.examples: dict[int, Refusal] = {}
        self.errors: Counter[str] = Counter()
        self.wrong_202: Counter[str] = Counter()

    def acknowledge(self, places: Iterable[int], *, accepted: int = 0, duplicates: int = 0) -> None:
        self.acknowledged.extend(places)
        self.accepted += accepted
        self.duplicates += duplicates

    def refuse(self, status: int, order_id: int, reason: str, orders: int = 1) -> None:
        self.refused[status] += orders
        if reason and status not in self.examples:
            self.examples[status] = Refusal(order_id, reason[:MAX_REASON])

    def fail(self, reason: str, orders: int = 1) -> None:
        self.errors[reason] += orders

    def add_wrong_202(self, reason: str, orders: int = 1, places: Iterable[int] = ()) -> None:
        """Count orders that got a wrong 202; those at `places` it certainly meant, so they are read back."""
        self.wrong_202[reason] += orders
        self.acknowledged.extend(places)

    @property
    def sent(self) -> int:
        others = self.refused.total() + self.errors.total() + self.wrong_202.total()
        return self.accepted + self.duplicates + others
