"""Collects the problems of a run, and formats the result as tables, text and JSON. Pure functions."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from load.chaos.faults import SQLITE, Fault, FaultKind, FaultMix
from load.cli.errors import printable
from load.results.outages import Outage, summarize

COLUMNS = UNAVAILABLE, DROPPED, REFUSED = "503s", "dropped", "refused"  # The kinds of errors that clients count.
BALANCER = "balancer"  # If there is a load balancer, clients also count its own 502s, 503s and 504s.
MISSING, DIFFERING, STUCK, UNDELIVERED = "missing", "differing", "stuck", "undelivered"
REPEATED, CLAIM_SENT_TWICE = "delivered twice", "claims sent twice"
UNKNOWN, WRONG, TOTALS = "unknown orders", "wrong answers", "totals that differ"
ROWS = (MISSING, DIFFERING, STUCK, UNDELIVERED, REPEATED, CLAIM_SENT_TWICE, UNKNOWN, WRONG, TOTALS)
# The kinds of findings, which are rows of the printed table, and their keys in the JSON.
JSON_KEYS = {row: row.replace(" ", "_") for row in ROWS}
JSON_KEYS[UNKNOWN] = "strangers"
MAX_NAMED = 10
FAILOVER_ROWS = {
    "from_kill_s": "from kill to 202",
    "from_promotion_s": "from promotion to 202",
    "longest_gap_s": "longest time without 202",
}


@dataclass(kw_only=True)
class Findings:
    """Collects the problems of a target by kind. A problem is a text and an order id, which is 0 if unknown."""

    target: str
    acknowledged: int = 0
    archived: int | None = None
    """How many orders are in the archives. None if the servers keep all orders."""
    longest_wait_s: float | None = None
    """How long orders waited after their server had died. None if there is only one server."""
    outages: list[Outage] = field(default_factory=list)  # One for each failover.
    is_inspected: bool = False  # Whether orders were read back and the database was checked.
    problems: dict[str, list[tuple[str, int]]] = field(default_factory=lambda: {row: [] for row in JSON_KEYS})

    def add(self, row: str, text: str = "", order_id: int = 0) -> None:
        self.problems[row].append((text, order_id))

    def add_answer(self, name: str, problem: str, order_id: int) -> None:
        """Add what is wrong with the response to `name`, unless `problem` is empty."""
        if problem:
            self.add(WRONG, f"{name}: {problem}", order_id)

    def add_orders(self, row: str, orders: Mapping[int, str]) -> None:
        """Add problems of the kind `row`. `orders` maps ids to problems. Ignores orders that already have a problem."""
        known = {order_id for _, order_id in self.problems[row]}
        self.problems[row] += [(text, order_id) for order_id, text in orders.items() if order_id not in known]

    @property
    def passed(self) -> bool:
        """Whether orders were acknowledged and archived, the target was inspected, and nothing is wrong."""
        is_used = self.acknowledged > 0 and self.archived != 0
        return self.is_inspected and is_used and not any(self.problems.values())

    @property
    def lines(self) -> Iterator[str]:
        for row, problems in self.problems.items():
            for text, count in Counter(text for text, _ in problems).most_common(MAX_NAMED):
                ids = sorted(order_id for each, order_id in problems if each == text and order_id)
                named = ", ".join(map(str, ids[:MAX_NAMED])) + (", ..." if len(ids) > MAX_NAMED else "")
                yield ": ".join(filter(None, (self.target, row, text and f"{count} x {printable(text)}", named)))

    def to_json(self) -> dict[str, Any]:
        counts = {key: len(self.problems[row]) for row, key in JSON_KEYS.items()}
        wait = {} if self.longest_wait_s is None else {"longest_wait_seconds": self.longest_wait_s}
        archived = {} if self.archived is None else {"archived": self.archived}
        orders = {"acknowledged": self.acknowledged, **archived}
        return {"shop": self.target, **orders, **counts, **wait, "found": [*self.lines]}


@dataclass(kw_only=True)
class Outcome:
    """The result of a run with the faults of `mix`. `made` counts the faults that had an effect.

    `client_errors` counts the errors that clients got during faults, by kind of fault and kind of error. `impossible`
    maps kinds of faults that this machine can't make to the reasons. `failures` says why the run failed.
    """

    mix: FaultMix = SQLITE
    made: Counter[FaultKind] = field(default_factory=Counter)
    impossible: dict[FaultKind, str] = field(default_factory=dict)
    client_errors: Counter[tuple[FaultKind, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    findings: list[Findings] = field(default_factory=list)
    is_interrupted: bool = False

    @property
    def passed(self) -> bool:
        is_complete = bool(self.findings) and not (self.failures or self.is_interrupted)
        return is_complete and all(found.passed for found in self.findings)

    @property
    def columns(self) -> tuple[str, ...]:
        return (*COLUMNS, BALANCER) if self.mix.has_nodes else COLUMNS

    @property
    def problems(self) -> Iterator[str]:
        yield from map(printable, self.failures)
        for found in self.findings:
            yield from found.lines
            if found.is_inspected and not found.acknowledged:
                yield f"{found.target}: no order was acknowledged"
            if found.is_inspected and found.archived == 0:
                yield f"{found.target}: no order was archived"

    @property
    def outages(self) -> list[Outage]:
        return [outage for found in self.findings for outage in found.outages]

    @property
    def _failovers(self) -> dict[str, Any]:
        if not self.outages:
            return {}
        times = {f"{name.removesuffix('_s')}_seconds": each for name, each in summarize(self.outages).items()}
        return {"failovers": {"count": len(self.outages), **times}}

    def to_json(self, plan: Sequence[Fault], *, seed: int) -> dict[str, Any]:
        planned = Counter(fault.kind for fault in plan)
        return {
            "seed": seed,
            "faults": {
                kind.value: {
                    "planned": planned[kind],
                    "made": self.made[kind],
                    "not_made": self.impossible.get(kind),
                    **{name: self.client_errors[kind, name] for name in self.columns},
                }
                for kind in FaultKind
                if kind in self.mix.kinds
            },
            **self._failovers,
            "shops": [found.to_json() for found in self.findings if found.is_inspected],
            "failed": self.failures,
            "interrupted": self.is_interrupted,
            "passed": self.passed,
        }


def format_outcome(outcome: Outcome, plan: Sequence[Fault]) -> Iterator[str]:
    planned = Counter(fault.kind for fault in plan)
    yield f"\n{'fault':<20}{'made':>12}" + "".join(f"{name:>12}" for name in outcome.columns)
    for kind in filter(planned.get, FaultKind):
        errors = "".join(f"{outcome.client_errors[kind, name]:>12,}" for name in outcome.columns)
        yield f"{kind.value:<20}{f'{outcome.made[kind]} of {planned[kind]}':>12}{errors}"
    yield from (f"{kind.value} was not made: {printable(reason)}" for kind, reason in outcome.impossible.items())
    inspected = [found for found in outcome.findings if found.is_inspected]
    if inspected:
        yield from _format_orders(inspected, has_nodes=outcome.mix.has_nodes)
    if outcome.outages:
        yield from _format_failovers(outcome.outages)
    yield ""
    problems = [*outcome.problems]
    if outcome.passed:
        yield "Nothing was lost, and nothing was wrong."
    elif outcome.is_interrupted and not problems:
        yield "Nothing was wrong until then."
    yield from problems
    for found in outcome.findings:
        if not found.is_inspected:
            yield f"{found.target}: {found.acknowledged:,} orders were acknowledged and not read back"


def _format_orders(inspected: Sequence[Findings], *, has_nodes: bool) -> Iterator[str]:
    yield f"\n{'orders':<20}" + "".join(f"{found.target:>12}" for found in inspected)
    yield f"{'acknowledged':<20}" + "".join(f"{found.acknowledged:>12,}" for found in inspected)
    if any(found.archived is not None for found in inspected):
        yield f"{'archived':<20}" + "".join(f"{found.archived or 0:>12,}" for found in inspected)
    for row in JSON_KEYS:
        yield f"{row:<20}" + "".join(f"{len(found.problems[row]):>12,}" for found in inspected)
    if has_nodes:
        waits = (f"{found.longest_wait_s or 0:.1f} s" for found in inspected)
        yield f"{'longest wait':<20}" + "".join(f"{wait:>12}" for wait in waits)


def _format_failovers(outages: Sequence[Outage]) -> Iterator[str]:
    yield f"\n{f'failovers ({len(outages)})':<28}{'median':>12}{'longest':>12}"
    summary = summarize(outages)
    for name, row in FAILOVER_ROWS.items():
        yield f"{row:<28}" + "".join(f"{f'{seconds:.1f} s':>12}" for seconds in summary[name].values())
