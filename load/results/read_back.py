"""What was found when the acknowledged orders were read back. Values that the event loop writes."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from load.cli.text import printable

NAMED = 5


@dataclass(kw_only=True)
class ReadBackResult:
    """What was found of the acknowledged orders; an order that was sent repeatedly counts once.

    `different`, `unprocessed` and `unread` have the reason for each id. `total_amount` sums what the server returned.
    """

    acknowledged: int = 0
    read: int = 0
    lost: list[int] = field(default_factory=list)
    different: dict[int, str] = field(default_factory=dict)
    unprocessed: dict[int, str] = field(default_factory=dict)
    unread: dict[int, str] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    total_amount: Decimal = Decimal(0)

    @property
    def is_good(self) -> bool:
        """Whether every acknowledged order is there as it was sent, and processed."""
        return not (self.lost or self.different or self.unprocessed or self.unread)

    def describe(self, *, is_complete: bool = True) -> str:
        """Say what was found, with the first ids of each kind of error, or what was found so far."""
        statuses = printable(", ".join(f"{count} {status}" for status, count in self.statuses.most_common()))
        findings = [_finding("lost", self.lost), _finding("different", self.different)]
        begin = f"Read back {self.read} of {self.acknowledged} acknowledged orders"
        if not is_complete:
            return f"{begin} so far: {', '.join(findings)}."
        if self.read:
            findings.append(_finding("not processed", self.unprocessed) if self.unprocessed else "all processed")
        if self.unread:
            others = [f"of the others {findings[0]}", *findings[1:]] if self.read or self.lost else []
            findings = [_finding("could not be read", self.unread), *others]
        shown = f" ({statuses})" if statuses else ""
        return f"{begin}: {', '.join(findings)}{shown}. Sum of total_amount: {self.total_amount:f}"


def _finding(what: str, orders: Iterable[int]) -> str:
    """Name the first orders, with their reasons if `orders` has any."""
    ids = sorted(orders)
    if not ids:
        return f"none {what}"
    reasons: Mapping[int, str] = orders if isinstance(orders, dict) else {}
    named = [f"{one}: {printable(reasons[one])}" if reasons.get(one) else str(one) for one in ids[:NAMED]]
    more = [f"and {len(ids) - NAMED} more"] if len(ids) > NAMED else []
    return f"{len(ids)} {what.upper()} ({'; '.join(named + more)})"
