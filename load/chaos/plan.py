"""Plans the faults of a run from its seed. Pure functions."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import repeat
from random import Random

from load.chaos.faults import (
    LONGEST_S,
    OUTAGE_S,
    RECORD,
    SHORTEST_S,
    SQLITE,
    TARGETS,
    WEBHOOK,
    Crash,
    Cut,
    Fault,
    FaultKind,
    FaultMix,
    Isolation,
    ReceiverFault,
    SecondStart,
)

SHORTEST_LOCK_S, LONG_LOCK_S, LONG_LOCK_SHARE = 0.2, 12.0, 0.1
MAX_KILLS, MAX_KILLS_DURING_HANG, MAX_CUTS = 3, 2, 6
LONGEST_START_S = 0.6  # The latest time after the launch at which a server is killed while it starts.
OVERLAP_SHARE, OVERLAP_PAUSE_S = 0.3, 0.2
LONGEST_STALL_S = 6.0  # The server waits 3 s for an answer of PostgreSQL.
LEAST_HOURS, MOST_HOURS = 2, 48  # Steps of the clock. Each is longer than the longest delay of a retry: an hour + 20 %.
ON_RECORD = (FaultKind.STDERR, FaultKind.DAMAGE, FaultKind.WAL, FaultKind.READ_ONLY)


def plan_faults(seed: int, count: int, mix: FaultMix = SQLITE, *, nodes: int = 1) -> list[Fault]:
    """Return the first `count` faults of the endless sequence that `seed` determines, for `nodes` servers."""
    rng = Random(f"faults {seed}")
    kinds = (kind for _ in repeat(None) for kind in rng.sample(mix.kinds, len(mix.kinds)))
    receiver_faults = _receiver_faults(Random(f"manners {seed}"))
    chosen = Random(f"nodes {seed}")
    faults = (_fault(next(kinds), rng, receiver_faults, mix) for _ in range(count))
    return [replace(fault, node=chosen.randrange(nodes)) for fault in faults]


def _receiver_faults(rng: Random) -> Iterator[ReceiverFault]:
    """Yield groups with all five kinds. HANG is first or second, so that a run with two receiver faults has a HANG."""
    others: list[ReceiverFault] = [fault for fault in ReceiverFault if fault is not ReceiverFault.HANG]
    while True:
        faults: list[ReceiverFault] = rng.sample(others, len(others))
        faults.insert(rng.randrange(2), ReceiverFault.HANG)
        yield from faults


def _fault(kind: FaultKind, rng: Random, receiver_faults: Iterator[ReceiverFault], mix: FaultMix) -> Fault:
    target = WEBHOOK if kind is FaultKind.RECEIVER else RECORD if kind in ON_RECORD else rng.choice(TARGETS)
    # Some faults begin almost together, for example a kill while the disk is full.
    pause_s = _seconds(rng, 0.0, OVERLAP_PAUSE_S if rng.random() < OVERLAP_SHARE else mix.longest_pause_s)
    length_s = _seconds(rng, *(mix.freeze_s if kind is FaultKind.FREEZE else (SHORTEST_S, LONGEST_S)))
    count, detail = 1, ""
    match kind:
        case FaultKind.KILL:
            count = max(1, rng.randint(1, MAX_KILLS + 2) - 2)
            length_s = _seconds(rng, 0.0, LONGEST_START_S)
        case FaultKind.TERM | FaultKind.KILL_ALL:
            length_s = 0.0
        case FaultKind.LOCK:
            is_long = rng.random() < LONG_LOCK_SHARE
            length_s = LONG_LOCK_S if is_long else _seconds(rng, SHORTEST_LOCK_S, LONGEST_S)
        case FaultKind.CHECKPOINT:
            count = rng.randint(2, 6)
            detail = " ".join(rng.choices(mix.maintenance, k=count))
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
        case FaultKind.CRASH | FaultKind.CUT | FaultKind.STALL | FaultKind.ISOLATE | FaultKind.FAILOVER:
            length_s, count, detail = _fault_of_postgresql(kind, rng)
    return Fault(kind=kind, target=target, pause_s=pause_s, length_s=length_s, count=count, detail=detail)


def _fault_of_postgresql(kind: FaultKind, rng: Random) -> tuple[float, int, str]:
    """Return the length, count and detail of a fault.

    Some crashes and failovers last longer than the server tries to connect.
    """
    if kind in (FaultKind.CRASH, FaultKind.FAILOVER):
        length_s = LONG_LOCK_S if rng.random() < LONG_LOCK_SHARE else _seconds(rng, 0.0, LONGEST_S)
        return length_s, 1, rng.choice([*Crash]).value if kind is FaultKind.CRASH else ""
    if kind is FaultKind.CUT:
        return _seconds(rng, SHORTEST_S, LONGEST_S), rng.randint(1, MAX_CUTS), rng.choice([*Cut]).value
    if kind is FaultKind.ISOLATE:
        return _seconds(rng, *OUTAGE_S), 1, rng.choice([*Isolation]).value
    return _seconds(rng, SHORTEST_S, LONGEST_STALL_S), 1, ""


def _seconds(rng: Random, shortest: float, longest: float) -> float:
    return round(rng.uniform(shortest, longest), 2)
