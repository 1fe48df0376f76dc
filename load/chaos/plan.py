"""The faults of a run, which follow from its seed. Pure functions, for any thread."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from random import Random

RECORD, WEBHOOK = "record", "webhook"
TARGETS = (RECORD, WEBHOOK)
"""The two target servers, named after their --processor."""
SHORTEST_S, LONGEST_S = 0.5, 3.0
SHORTEST_LOCK_S, LONG_LOCK_S, LONG_LOCK_SHARE = 0.2, 12.0, 0.1
MAX_KILLS, MAX_KILLS_DURING_HANG = 3, 2
LONGEST_START_S = 0.6
"""How long after its start a server is killed at the latest, if it is killed while it starts."""
OVERLAP_SHARE, OVERLAP_PAUSE_S = 0.3, 0.2
LONGEST_PAUSE_S = 3.0
CHECKPOINT_MODES = ("PASSIVE", "FULL", "RESTART", "TRUNCATE")


class FaultKind(Enum):
    """What is done to a target server; the values are what users see."""

    KILL = "kill"
    TERM = "term"
    FREEZE = "freeze"
    FULL_DISK = "full-disk"
    LOCK = "lock"
    CHECKPOINT = "checkpoint"
    VANISH = "vanish"
    RECEIVER = "receiver"


class ReceiverFault(Enum):
    """How the webhook receiver fails."""

    GONE = "gone"
    HANG = "hangs"
    ERROR = "answers 500"
    BUSY = "answers 503"


# Every 17 faults in a row have this many of each kind, so that a short run has all kinds.
DECK = (FaultKind.KILL,) * 3 + tuple(kind for kind in FaultKind if kind is not FaultKind.KILL) * 2


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A planned fault: it begins `pause_s` after the beginning of the fault before, and lasts `length_s`.

    `count` is the number of kills in a row, of checkpoints, of disconnecting clients, or of kills while the receiver
    hangs. After the first kill, a process lives for `length_s`. `detail` is the receiver's fault, or checkpoint modes.
    """

    kind: FaultKind
    target: str
    pause_s: float
    length_s: float = 0.0
    count: int = 1
    detail: str = ""


def plan_faults(seed: int, count: int) -> list[Fault]:
    """Return the faults of a run. The same seed gives the same faults; a longer run begins with those of a shorter."""
    rng = Random(f"faults {seed}")
    kinds, receiver_faults = _kinds(rng), _receiver_faults(Random(f"manners {seed}"))
    return [_fault(next(kinds), rng, receiver_faults) for _ in range(count)]


def _kinds(rng: Random) -> Iterator[FaultKind]:
    while True:
        yield from rng.sample(DECK, len(DECK))


def _receiver_faults(rng: Random) -> Iterator[ReceiverFault]:
    """Yield all four in every four, with HANG among the first two: every 17 faults have two receiver faults."""
    others: list[ReceiverFault] = [fault for fault in ReceiverFault if fault is not ReceiverFault.HANG]
    while True:
        faults: list[ReceiverFault] = rng.sample(others, len(others))
        faults.insert(rng.randrange(2), ReceiverFault.HANG)
        yield from faults


def _fault(kind: FaultKind, rng: Random, receiver_faults: Iterator[ReceiverFault]) -> Fault:
    target = WEBHOOK if kind is FaultKind.RECEIVER else rng.choice(TARGETS)
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
            # A webhook that the receiver did not answer must be sent again, also if its sender was killed.
            count = rng.randint(1, MAX_KILLS_DURING_HANG) if detail == ReceiverFault.HANG.value else 1
    return Fault(kind=kind, target=target, pause_s=pause_s, length_s=length_s, count=count, detail=detail)


def _seconds(rng: Random, shortest: float, longest: float) -> float:
    return round(rng.uniform(shortest, longest), 2)
