"""The kinds of faults, which of them each kind of target gets, and a planned fault. Immutable values."""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

RECORD, WEBHOOK = "record", "webhook"
TARGETS = (RECORD, WEBHOOK)  # The two targets, named after their --processor.
SHORTEST_S, LONGEST_S = 0.5, 3.0
OUTAGE_S = (4.0, 8.0)  # How long one of several servers is frozen or cut off. Its lease expires after 5 s.


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
    CRASH = "crash"
    BACKEND = "backend"
    CUT = "cut"
    STALL = "stall"
    KILL_ALL = "kill-all"
    ISOLATE = "isolate"
    FAILOVER = "failover"


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


class Crash(Enum):
    """How PostgreSQL crashes. The values are printed."""

    IMMEDIATE = "restart -m immediate"
    KILL = "kill -9 of the postmaster"


class Cut(Enum):
    """How connections to PostgreSQL are cut. The values are printed."""

    TERMINATE = "pg_terminate_backend"
    ANSWER = "answers of PostgreSQL lost"


class Isolation(Enum):
    """How one of several servers is cut off from PostgreSQL. The values are printed."""

    STALL = "nothing forwarded"
    REFUSE = "connections refused"


class FaultMix(NamedTuple):
    """The faults of one kind of target. A run is planned in groups, each with all faults of `kinds` in random order.

    `maintenance` has the kinds of checkpoints, or the statements that a fault of the kind CHECKPOINT executes. A fault
    begins at most `longest_pause_s` after the previous one. PostgreSQL needs longer until it works again. `freeze_s`
    has the shortest and the longest time for which a server is frozen. With `has_nodes`, several servers share a
    database, and PostgreSQL has a standby.
    """

    kinds: tuple[FaultKind, ...]
    maintenance: tuple[str, ...]
    longest_pause_s: float
    freeze_s: tuple[float, float] = (SHORTEST_S, LONGEST_S)
    has_nodes: bool = False


TWICE = (
    *(FaultKind.TERM, FaultKind.FREEZE, FaultKind.FULL_DISK, FaultKind.LOCK, FaultKind.CHECKPOINT, FaultKind.VANISH),
    FaultKind.RECEIVER,
)
ON_SQLITE = (FaultKind.SECOND, FaultKind.DAMAGE, FaultKind.WAL, FaultKind.READ_ONLY)
ON_POSTGRESQL = (FaultKind.CRASH, FaultKind.BACKEND, FaultKind.CUT, FaultKind.STALL) * 2
ALWAYS = (*(FaultKind.KILL,) * 3, *TWICE, *TWICE, FaultKind.CLOCK, FaultKind.STDERR)
SQLITE = FaultMix(
    kinds=(*ALWAYS, *ON_SQLITE), maintenance=("PASSIVE", "FULL", "RESTART", "TRUNCATE"), longest_pause_s=3.0
)
POSTGRESQL = FaultMix(
    kinds=(*ALWAYS, *ON_POSTGRESQL), maintenance=("CHECKPOINT", "VACUUM", "ANALYZE"), longest_pause_s=5.0
)
NODES = POSTGRESQL._replace(
    kinds=(*POSTGRESQL.kinds, *(FaultKind.KILL_ALL, FaultKind.FAILOVER) * 2, *(FaultKind.ISOLATE,) * 3),
    freeze_s=OUTAGE_S,
    has_nodes=True,
)
OF_ONE_SERVER = {
    *(FaultKind.KILL, FaultKind.TERM, FaultKind.FREEZE, FaultKind.CLOCK, FaultKind.STDERR),
    FaultKind.ISOLATE,
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A planned fault: it begins `pause_s` after the previous fault began, and lasts `length_s`.

    `count` is the number of kills in a row, of checkpoints, of disconnecting clients, of kills while the receiver
    hangs, of cuts, or of hours by which the clock is set. In a row of kills, each kill after the first one comes
    `length_s` after the restart. `detail` is the value of a ReceiverFault, SecondStart, Crash, Cut or Isolation, or
    has the statements of the checkpoints. `node` is the index of the server, for faults of one server.
    """

    kind: FaultKind
    target: str
    pause_s: float
    length_s: float = 0.0
    count: int = 1
    detail: str = ""
    node: int = 0
