"""Owns what the reading back found, and the line that says it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

NAMED = 5


@dataclass(kw_only=True)
class Verdict:
    """What was found of the acknowledged orders; an order that was sent repeatedly counts once.

    `different`, `unprocessed` and `unread` say by id what was found. `total_amount` sums what the server gave back.
    """

    acknowledged: int = 0
    read: int = 0
    lost: dict[int, str] = field(default_factory=dict)
    different: dict[int, str] = field(default_factory=dict)
    unprocessed: dict[int, str] = field(default_factory=dict)
    unread: dict[int, str] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    total_amount: Decimal = Decimal(0)

    @property
    def is_good(self) -> bool:
        """Whether every acknowledged order is there as it was sent, and processed."""
        return not (self.lost or self.different or self.unprocessed or self.unread)

    @property
    def line(self) -> str:
        """Say it in one line, with the first ids of what is wrong."""
        statuses = ", ".join(f"{count} {status}" for status, count in self.statuses.most_common())
        findings = [
            _finding("lost", self.lost),
            _finding("different", self.different),
            _finding("not processed", self.unprocessed) if self.unprocessed else "all processed",
        ]
        if self.unread:
            findings[0] = f"{_finding('could not be read', self.unread)}; of the others {findings[0]}"
        return (
            f"Read back {self.read} of {self.acknowledged} acknowledged orders: {', '.join(findings)}"
            f"{f' ({statuses})' if statuses else ''}. Sum of total_amount: {self.total_amount:f}"
        )


def _finding(what: str, orders: Mapping[int, str]) -> str:
    if not orders:
        return f"none {what}"
    named = "; ".join(f"{order_id}{f': {why}' if why else ''}" for order_id, why in sorted(orders.items())[:NAMED])
    more = f"; and {len(orders) - NAMED} more" if len(orders) > NAMED else ""
    return f"{len(orders)} {what.upper()} ({named}{more})"
