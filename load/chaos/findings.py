"""Owns what a run found of a shop, its counts, and how it is told; pure functions, any thread."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from load.chaos.file_audit import FileFindings
from load.cli.text import printable
from load.results.read_back import ReadBackResult

NAMED = 10


@dataclass(kw_only=True)
class Findings:
    """What was found of one shop; `wrong` are answers and ends that no harm excuses, each with an order's id or 0."""

    shop: str
    acknowledged: int = 0
    missing: list[int] = field(default_factory=list)
    differing: dict[int, str] = field(default_factory=dict)
    stuck: dict[int, str] = field(default_factory=dict)
    undelivered: list[int] = field(default_factory=list)
    strangers: list[int] = field(default_factory=list)
    wrong: list[tuple[str, int]] = field(default_factory=list)
    totals: list[str] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """How much of each was found; all of it but the first must be nothing."""
        return {
            "acknowledged": self.acknowledged,
            "missing": len(self.missing),
            "differing": len(self.differing),
            "stuck": len(self.stuck),
            "undelivered": len(self.undelivered),
            "strangers": len(self.strangers),
            "wrong answers": len(self.wrong),
            "totals that differ": len(self.totals),
        }

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong, and orders were acknowledged at all."""
        return self.acknowledged > 0 and sum(self.counts.values()) == self.acknowledged

    @property
    def lines(self) -> Iterator[str]:
        """Name the first of what is wrong."""
        yield from self._named("missing", dict.fromkeys(self.missing, ""))
        yield from self._named("differing", self.differing)
        yield from self._named("stuck", self.stuck)
        for status, count in Counter(self.stuck.values()).items():
            yield f"{self.shop}: {count} are {printable(status)}"
        yield from self._named("undelivered", dict.fromkeys(self.undelivered, ""))
        yield from self._named("strangers", dict.fromkeys(self.strangers, ""))
        kinds = Counter(what for what, _ in self.wrong)
        for what, count in kinds.most_common(NAMED):
            ids = [str(order_id) for each, order_id in self.wrong if each == what and order_id][:NAMED]
            yield f"{self.shop}: {count} x {printable(what)}{': ' if ids else ''}{', '.join(ids)}"
        yield from (f"{self.shop}: {printable(line)}" for line in self.totals)

    def to_json(self) -> dict[str, Any]:
        """Give the counts by name, and the lines."""
        return {
            "shop": self.shop,
            **{name.replace(" ", "_"): n for name, n in self.counts.items()},
            "found": [*self.lines],
        }

    def _named(self, what: str, orders: Mapping[int, str]) -> Iterator[str]:
        if orders:
            first = sorted(orders.items())[:NAMED]
            named = ", ".join(f"{order_id}{f' ({printable(why)})' if why else ''}" for order_id, why in first)
            yield f"{self.shop}: {what}: {named}{', ...' if len(orders) > NAMED else ''}"


def findings_of(shop: str, verdict: ReadBackResult, file: FileFindings, *, wrong: list[tuple[str, int]]) -> Findings:
    """Put together what the answers and the file of a shop say; `wrong` is what was wrong before."""
    not_done = {order_id: status for order_id, status in verdict.unprocessed.items() if order_id not in file.stuck}
    return Findings(
        shop=shop,
        acknowledged=verdict.acknowledged,
        missing=sorted({*verdict.lost, *file.missing}),
        differing=verdict.different,
        stuck=file.stuck | not_done,
        undelivered=file.undelivered,
        strangers=file.strangers,
        wrong=[
            *wrong,
            *((f"it can't be read: {why}", order_id) for order_id, why in verdict.unread.items()),
            *((fault, 0) for fault in file.faults),
        ],
        totals=file.totals,
    )
