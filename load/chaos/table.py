"""Owns how the outcome of a run is shown: the faults by kind, what was found, and JSON; pure functions, any thread."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from load.chaos.asking import DROPPED, REFUSED, TEMPORARY
from load.chaos.campaign import Outcome
from load.chaos.findings import Findings
from load.chaos.plan import Fault, Kind
from load.chaos.shop import Shop
from load.cli.text import printable

SEEN = {"503s": str(TEMPORARY), "dropped": DROPPED, "refused": REFUSED}


def summary_of(outcome: Outcome, plan: Sequence[Fault]) -> Iterator[str]:
    """Give the lines of both tables: the faults by kind, and what was found by shop."""
    planned = Counter(fault.kind for fault in plan)
    yield ""
    yield f"{'fault':<20}{'made':>12}" + "".join(f"{name:>12}" for name in SEEN)
    for kind in Kind:
        if planned[kind]:
            seen = "".join(f"{outcome.seen[kind][name]:>12,}" for name in SEEN.values())
            yield f"{kind.value:<20}{f'{outcome.made[kind]} of {planned[kind]}':>12}{seen}"
    if outcome.findings:
        yield ""
        yield f"{'orders':<20}" + "".join(f"{found.shop:>12}" for found in outcome.findings)
        for name in outcome.findings[0].counts:
            yield f"{name:<20}" + "".join(f"{found.counts[name]:>12,}" for found in outcome.findings)
    yield ""


def failures_of(outcome: Outcome, shops: Collection[Shop]) -> Iterator[str]:
    """Say what is wrong, with the first order ids of each kind; where nothing is, that; and what was not looked at."""
    wrongs = [*wrongs_of(outcome, shops)]
    if outcome.is_good:
        yield "Nothing was lost, and nothing was wrong."
    elif outcome.is_interrupted and not wrongs:
        yield "Nothing was wrong until then."
    yield from wrongs
    for shop in _not_looked_at(outcome, shops):
        yield f"{shop.name}: {shop.ledger.acknowledged:,} orders were acknowledged and not read back"


def wrongs_of(outcome: Outcome, shops: Collection[Shop]) -> Iterator[str]:
    """Say what is wrong; nothing where nothing is, or nothing is known yet."""
    yield from (printable(line) for line in outcome.failed)
    for found in outcome.findings:
        yield from found.lines
        if not found.acknowledged:
            yield f"{found.shop}: no order was acknowledged"
    # What was noted before it ended without a look at everything.
    for shop in _not_looked_at(outcome, shops):
        yield from Findings(shop=shop.name, wrong=shop.wrong).lines


def to_json(outcome: Outcome, plan: Sequence[Fault], *, seed: int) -> dict[str, Any]:
    """Give the same as JSON values."""
    planned = Counter(fault.kind for fault in plan)
    return {
        "seed": seed,
        "faults": {
            kind.value: {
                "planned": planned[kind],
                "made": outcome.made[kind],
                **{name: outcome.seen[kind][key] for name, key in SEEN.items()},
            }
            for kind in Kind
        },
        "shops": [found.to_json() for found in outcome.findings],
        "failed": outcome.failed,
        "interrupted": outcome.is_interrupted,
        "passed": outcome.is_good,
    }


def _not_looked_at(outcome: Outcome, shops: Collection[Shop]) -> list[Shop]:
    looked_at = {found.shop for found in outcome.findings}
    return [shop for shop in shops if shop.name not in looked_at]
