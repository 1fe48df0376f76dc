"""Owns which harm is done when, to whom and for how long, as it follows from a seed; pure functions, any thread."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from random import Random

RECORD, WEBHOOK = "record", "webhook"
SHOPS = (RECORD, WEBHOOK)
"""The shops, by what processing an order means there."""
SHORTEST_S, LONGEST_S = 0.5, 3.0
SHORTEST_LOCK_S, LONG_LOCK_S = 0.2, 12.0
LONG_LOCK_SHARE = 0.1
MOST_KILLS = 3
MOST_HANGING_KILLS = 2
LONGEST_LIFE_S = 0.6
"""Of a process that is killed while it starts."""
AT_ONCE_SHARE = 0.3
AT_ONCE_S = 0.2
LONGEST_PAUSE_S = 3.0
MODES = ("PASSIVE", "FULL", "RESTART", "TRUNCATE")


class Kind(Enum):
    """What is done to a shop."""

    KILL = "kill"
    TERM = "term"
    FREEZE = "freeze"
    FULL_DISK = "full-disk"
    LOCK = "lock"
    CHECKPOINT = "checkpoint"
    VANISH = "vanish"
    RECEIVER = "receiver"


class Manner(Enum):
    """How the webhook's receiver fails its senders."""

    GONE = "gone"
    HANG = "hangs"
    ERROR = "answers 500"
    BUSY = "answers 503"


OTHER_MANNERS: tuple[Manner, ...] = tuple(manner for manner in Manner if manner is not Manner.HANG)
# Of every 17 in a row each kind has its share, so that a short run has all of them.
DECK = (Kind.KILL,) * 3 + tuple(kind for kind in Kind if kind is not Kind.KILL) * 2


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One harm: `pause_s` after the one before has begun.

    `length_s` is how long it lasts; of a kill of `count` processes in a row, how long the later ones live. `count` is
    how many clients vanish, too, and how often the server is killed while the receiver hangs. `manner` is the
    receiver's, or the checkpoints' modes in their order.
    """

    kind: Kind
    shop: str
    pause_s: float
    length_s: float = 0.0
    count: int = 1
    manner: str = ""


def plan_faults(seed: int, count: int) -> list[Fault]:
    """Give the faults of a run; the same seed gives the same ones, and of a longer run the same first ones."""
    chance = Random(f"faults {seed}")
    kinds, manners = _kinds(chance), _manners(Random(f"manners {seed}"))
    return [_fault(next(kinds), chance, manners) for _ in range(count)]


def _kinds(chance: Random) -> Iterator[Kind]:
    while True:
        yield from chance.sample(DECK, len(DECK))


def _manners(chance: Random) -> Iterator[Manner]:
    """Give all four in every four, and hanging among the first two, which every 17 faults have."""
    while True:
        manners: list[Manner] = chance.sample(OTHER_MANNERS, len(OTHER_MANNERS))
        manners.insert(chance.randrange(2), Manner.HANG)
        yield from manners


def _fault(kind: Kind, chance: Random, manners: Iterator[Manner]) -> Fault:
    shop = WEBHOOK if kind is Kind.RECEIVER else chance.choice(SHOPS)
    # Some come together: a kill while the disk is full, say.
    longest_s = AT_ONCE_S if chance.random() < AT_ONCE_SHARE else LONGEST_PAUSE_S
    pause_s = _seconds(chance, 0.0, longest_s)
    length_s = _seconds(chance, SHORTEST_S, LONGEST_S)
    count, manner = 1, ""
    match kind:
        case Kind.KILL:
            count = max(1, chance.randint(1, MOST_KILLS + 2) - 2)
            length_s = _seconds(chance, 0.0, LONGEST_LIFE_S)
        case Kind.TERM:
            length_s = 0.0
        case Kind.LOCK:
            is_long = chance.random() < LONG_LOCK_SHARE
            length_s = LONG_LOCK_S if is_long else _seconds(chance, SHORTEST_LOCK_S, LONGEST_S)
        case Kind.CHECKPOINT:
            count = chance.randint(2, 6)
            manner = " ".join(chance.choices(MODES, k=count))
            length_s = 1.0 if chance.random() < 0.5 else 0.0
        case Kind.VANISH:
            count, length_s = chance.randint(24, 60), _seconds(chance, 0.0, SHORTEST_S)
        case Kind.RECEIVER:
            manner = next(manners).value
            # What is on its way to one that hangs was not delivered, whatever becomes of the sender.
            count = chance.randint(1, MOST_HANGING_KILLS) if manner == Manner.HANG.value else 1
    return Fault(kind=kind, shop=shop, pause_s=pause_s, length_s=length_s, count=count, manner=manner)


def _seconds(chance: Random, shortest: float, longest: float) -> float:
    return round(chance.uniform(shortest, longest), 2)
