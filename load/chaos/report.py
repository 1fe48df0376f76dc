"""Plans the faults of a run from its seed, and formats the result as tables, text and JSON. Pure functions."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import repeat
from random import Random
from typing import Any

from load.cli.errors import printable

RECORD, WEBHOOK = "record", "webhook"
TARGETS = (RECORD, WEBHOOK)  # The two target servers, named after their --processor.
SHORTEST_S, LONGEST_S = 0.5, 3.0
SHORTEST_LOCK_S, LONG_LOCK_S, LONG_LOCK_SHARE = 0.2, 12.0, 0.1
MAX_KILLS, MAX_KILLS_DURING_HANG = 3, 2
LONGEST_START_S = 0.6  # The latest time after the launch at which a server is killed while it starts.
OVERLAP_SHARE, OVERLAP_PAUSE_S = 0.3, 0.2
LONGEST_PAUSE_S = 3.0
LEAST_HOURS, MOST_HOURS = 2, 48  # Steps of the clock. Each is longer than the longest delay of a retry: an hour + 20 %.
CHECKPOINT_MODES = ("PASSIVE", "FULL", "RESTART", "TRUNCATE")
COLUMNS = UNAVAILABLE, DROPPED, REFUSED = "503s", "dropped", "refused"  # The kinds of errors that clients count.
MISSING, DIFFERING, STUCK, UNDELIVERED = "missing", "differing", "stuck", "undelivered"
UNKNOWN, WRONG, TOTALS = "unknown orders", "wrong answers", "totals that differ"
# The kinds of findings, which are rows of the printed table, and their keys in the JSON.
JSON_KEYS = {row: row.replace(" ", "_") for row in (MISSING, DIFFERING, STUCK, UNDELIVERED, UNKNOWN, WRONG, TOTALS)}
JSON_KEYS[UNKNOWN] = "strangers"
MAX_NAMED = 10


class FaultKind(Enum):
    """The kinds of faults, as load/README.md names and describes them."""

    KILL = "kill"
    TERM = "term"
    FREEZE = "freeze"
    FULL_DISK = "full-disk"
    LOCK = "lock"
    CHECKPOINT = "checkpoint"
    VANISH = "vanish"
    RECEIVER = "receiver"
    CLOCK = "clock"
    STDERR = "stderr"
    SECOND = "second"
    DAMAGE = "damage"
    WAL = "wal"
    READ_ONLY = "read-only"


class ReceiverFault(Enum):
    """The ways in which the webhook receiver fails. The values are printed."""

    GONE = "gone"
    HANG = "hangs"
    ERROR = "answers 500"
    BUSY = "answers 503"
    LIMIT = "answers 429"


class SecondStart(Enum):
    """How a second server is started on a database that is in use. The values are printed."""

    HARD_LINK = "on a hard link"
    NO_LOCK_FILE = "after the lock file was removed"


# A run is planned in groups of len(DECK) faults. Each group has the faults of DECK in random order.
ONCE = (FaultKind.CLOCK, FaultKind.STDERR, FaultKind.SECOND, FaultKind.DAMAGE, FaultKind.WAL, FaultKind.READ_ONLY)
TWICE = tuple(kind for kind in FaultKind if kind not in (FaultKind.KILL, *ONCE))
DECK = (*(FaultKind.KILL,) * 3, *TWICE, *TWICE, *ONCE)
ON_RECORD = (FaultKind.STDERR, FaultKind.DAMAGE, FaultKind.WAL, FaultKind.READ_ONLY)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A planned fault: it begins `pause_s` after the previous fault began, and lasts `length_s`.

    `count` is the number of kills in a row, of checkpoints, of disconnecting clients, of kills while the receiver
    hangs, or of hours by which the clock is set. In a row of kills, each kill after the first one comes `length_s`
    after the restart. `detail` is the value of a ReceiverFault or a SecondStart, or has the modes of the checkpoints.
    """

    kind: FaultKind
    target: str
    pause_s: float
    length_s: float = 0.0
    count: int = 1
    detail: str = ""


def plan_faults(seed: int, count: int) -> list[Fault]:
    """Return the first `count` faults of the endless sequence that `seed` determines."""
    rng = Random(f"faults {seed}")
    kinds = (kind for _ in repeat(None) for kind in rng.sample(DECK, len(DECK)))
    receiver_faults = _receiver_faults(Random(f"manners {seed}"))
    return [_fault(next(kinds), rng, receiver_faults) for _ in range(count)]


def _receiver_faults(rng: Random) -> Iterator[ReceiverFault]:
    """Yield groups with all five kinds. HANG is first or second, so that a run with two receiver faults has a HANG."""
    others: list[ReceiverFault] = [fault for fault in ReceiverFault if fault is not ReceiverFault.HANG]
    while True:
        faults: list[ReceiverFault] = rng.sample(others, len(others))
        faults.insert(rng.randrange(2), ReceiverFault.HANG)
        yield from faults


def _fault(kind: FaultKind, rng: Random, receiver_faults: Iterator[ReceiverFault]) -> Fault:
    target = WEBHOOK if kind is FaultKind.RECEIVER else RECORD if kind in ON_RECORD else rng.choice(TARGETS)
    # Some faults begin almost together, for example a kill while the disk is full.
    pause_s = _seconds(rng, 0.0, OVERLAP_PAUSE_S if rng.random() < OVERLAP_SHARE else LONGEST_PAUSE_S)
    length_s = _seconds(rng, SHORTEST_S, LONGEST_S)
    count, detail = 1, ""
    match kind:
        case FaultKind.KILL:
            count = max(1, rng.randint(1, MAX_KILLS + 2) - 2)
            length_s = _seconds(rng, 0.0, LONGEST_START_S)
        case FaultKind.TERM:
            length_s = 0.0
        case FaultKind.LOCK:
            is_long = rng.random() < LONG_LOCK_SHARE
            length_s = LONG_LOCK_S if is_long else _seconds(rng, SHORTEST_LOCK_S, LONGEST_S)
        case FaultKind.CHECKPOINT:
            count = rng.randint(2, 6)
            detail = " ".join(rng.choices(CHECKPOINT_MODES, k=count))
            length_s = 1.0 if rng.random() < 0.5 else 0.0
        case FaultKind.VANISH:
            count, length_s = rng.randint(24, 60), _seconds(rng, 0.0, SHORTEST_S)
        case FaultKind.RECEIVER:
            detail = next(receiver_faults).value
            # A server that is killed during a webhook must send the webhook again.
            count = rng.randint(1, MAX_KILLS_DURING_HANG) if detail == ReceiverFault.HANG.value else 1
        case FaultKind.CLOCK:
            count = rng.choice((-1, 1)) * rng.randint(LEAST_HOURS, MOST_HOURS)
        case FaultKind.SECOND:
            detail = rng.choice([*SecondStart]).value
    return Fault(kind=kind, target=target, pause_s=pause_s, length_s=length_s, count=count, detail=detail)


def _seconds(rng: Random, shortest: float, longest: float) -> float:
    return round(rng.uniform(shortest, longest), 2)


@dataclass(kw_only=True)
class Findings:
    """Collects the problems of a target server by kind. A problem is a text and an order id, which is 0 if unknown."""

    target: str
    acknowledged: int = 0
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
        """Whether orders were acknowledged, the server was inspected, and nothing is wrong."""
        return self.is_inspected and self.acknowledged > 0 and not any(self.problems.values())

    @property
    def lines(self) -> Iterator[str]:
        for row, problems in self.problems.items():
            for text, count in Counter(text for text, _ in problems).most_common(MAX_NAMED):
                ids = sorted(order_id for each, order_id in problems if each == text and order_id)
                named = ", ".join(map(str, ids[:MAX_NAMED])) + (", ..." if len(ids) > MAX_NAMED else "")
                yield ": ".join(filter(None, (self.target, row, text and f"{count} x {printable(text)}", named)))

    def to_json(self) -> dict[str, Any]:
        counts = {key: len(self.problems[row]) for row, key in JSON_KEYS.items()}
        return {"shop": self.target, "acknowledged": self.acknowledged, **counts, "found": [*self.lines]}


@dataclass(kw_only=True)
class Outcome:
    """The result of a run. `made` counts the faults that had an effect.

    `client_errors` counts the errors that clients got during faults, by kind of fault and kind of error. `impossible`
    maps kinds of faults that this machine can't make to the reasons. `failures` says why the run failed.
    """

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
    def problems(self) -> Iterator[str]:
        yield from map(printable, self.failures)
        for found in self.findings:
            yield from found.lines
            if found.is_inspected and not found.acknowledged:
                yield f"{found.target}: no order was acknowledged"

    def to_json(self, plan: Sequence[Fault], *, seed: int) -> dict[str, Any]:
        planned = Counter(fault.kind for fault in plan)
        return {
            "seed": seed,
            "faults": {
                kind.value: {
                    "planned": planned[kind],
                    "made": self.made[kind],
                    "not_made": self.impossible.get(kind),
                    **{name: self.client_errors[kind, name] for name in COLUMNS},
                }
                for kind in FaultKind
            },
            "shops": [found.to_json() for found in self.findings if found.is_inspected],
            "failed": self.failures,
            "interrupted": self.is_interrupted,
            "passed": self.passed,
        }


def format_outcome(outcome: Outcome, plan: Sequence[Fault]) -> Iterator[str]:
    planned = Counter(fault.kind for fault in plan)
    yield f"\n{'fault':<20}{'made':>12}" + "".join(f"{name:>12}" for name in COLUMNS)
    for kind in filter(planned.get, FaultKind):
        errors = "".join(f"{outcome.client_errors[kind, name]:>12,}" for name in COLUMNS)
        yield f"{kind.value:<20}{f'{outcome.made[kind]} of {planned[kind]}':>12}{errors}"
    yield from (f"{kind.value} was not made: {printable(reason)}" for kind, reason in outcome.impossible.items())
    inspected = [found for found in outcome.findings if found.is_inspected]
    if inspected:
        yield f"\n{'orders':<20}" + "".join(f"{found.target:>12}" for found in inspected)
        yield f"{'acknowledged':<20}" + "".join(f"{found.acknowledged:>12,}" for found in inspected)
        for row in JSON_KEYS:
            yield f"{row:<20}" + "".join(f"{len(found.problems[row]):>12,}" for found in inspected)
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
