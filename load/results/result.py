"""Contains what a run measured and read back, and decides whether it passed. Filled on the event loop."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from load.cli.errors import printable
from load.http.connections import SendDelays
from load.results.counting import Distribution, Recording, Tally
from load.system.machine import BUSY_SHARE

NAMED = 5
LATE_S = 0.010
LATE_SHARE_OF_P99 = 0.1
LATE_SHARE_OF_REQUESTS = 0.01
FEWEST_REQUESTS = 100
FEW_LATE_REQUESTS = 5
BEHIND_S = 0.1


@dataclass(kw_only=True)
class ReadBackResult:
    """Contains what was found when acknowledged orders were read back. An order that was sent repeatedly counts once.

    `different`, `unprocessed` and `unread` map ids to reasons.
    """

    acknowledged: int = 0
    read: int = 0
    lost_ids: list[int] = field(default_factory=list)
    different: dict[int, str] = field(default_factory=dict)
    unprocessed: dict[int, str] = field(default_factory=dict)
    unread: dict[int, str] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)

    @property
    def is_good(self) -> bool:
        """Whether every acknowledged order is stored as it was sent, and processed."""
        return not (self.lost_ids or self.different or self.unprocessed or self.unread)

    def describe(self, *, is_complete: bool = True) -> str:
        """Return a sentence about the orders read so far, with the first ids of each kind of error."""
        statuses = printable(", ".join(f"{count} {status}" for status, count in self.statuses.most_common()))
        findings = [_finding("lost", self.lost_ids), _finding("different", self.different)]
        begin = f"Read back {self.read} of {self.acknowledged} acknowledged orders"
        if not is_complete:
            return f"{begin} so far: {', '.join(findings)}."
        if self.read:
            findings.append(_finding("not processed", self.unprocessed) if self.unprocessed else "all processed")
        if self.unread:
            others = [f"of the others {findings[0]}", *findings[1:]] if self.read or self.lost_ids else []
            findings = [_finding("could not be read", self.unread), *others]
        shown = f" ({statuses})" if statuses else ""
        return f"{begin}: {', '.join(findings)}{shown}."


def _finding(what: str, orders: Iterable[int]) -> str:
    ids = sorted(orders)
    if not ids:
        return f"none {what}"
    reasons: Mapping[int, str] = orders if isinstance(orders, dict) else {}
    named = [f"{one}: {printable(reasons[one])}" if reasons.get(one) else str(one) for one in ids[:NAMED]]
    more = [f"and {len(ids) - NAMED} more"] if len(ids) > NAMED else []
    return f"{len(ids)} {what.upper()} ({'; '.join(named + more)})"


@dataclass(kw_only=True)
class Result:
    """Contains what a run has measured so far. Values that were not measured are None.

    Times are in seconds since the first request; only `started_ns` counts from 1970. `sending_s` is the time of the
    last response, but in an open loop at least the due time of the last request. `stopped_s` is the time of the last
    response if the server stopped responding after it. `waited_s` is when all orders were processed. `backlog` has
    pairs of a time and the number of orders that waited for processing. `phase` is what the run did last. `delays` is
    None except in an open loop. `is_read` is true once `read_back` is complete.
    """

    orders: int
    warm_up_s: float = 0.0
    phase: str = "connecting"
    started_ns: int = 0
    tally: Tally = field(default_factory=Tally)
    recording: Recording = field(default_factory=Recording)
    delays: SendDelays | None = None
    backlog: list[tuple[float, int]] = field(default_factory=list)
    sending_s: float | None = None
    stopped_s: float | None = None
    cpu_share: float | None = None
    waited_s: float | None = None
    read_back: ReadBackResult | None = None
    is_read: bool = False
    interrupted: bool = False

    @cached_property
    def counted(self) -> Recording:
        """The responses to requests that were due after the warm-up. Cached, so read it after the last response."""
        return self.recording.due_from(int(self.warm_up_s * 1e9)) if self.warm_up_s else self.recording

    @cached_property
    def latencies(self) -> Distribution:
        return Distribution(self.counted.latencies_ns)

    @cached_property
    def sending_latencies(self) -> Distribution:
        """Latencies without the wait for a free connection; empty except in an open loop."""
        return Distribution(self.counted.sending_latencies_ns if self.delays else ())

    def after_warm_up(self, time_s: float | None) -> float | None:
        """Return `time_s` minus the warm-up. Return None if `time_s` is None, or if `counted` has no responses."""
        if time_s is None or (self.warm_up_s and not self.counted):
            return None
        return time_s - self.warm_up_s

    @property
    def orders_per_second(self) -> float | None:
        elapsed_s = self.after_warm_up(self.sending_s)
        return sum(self.counted.orders) / elapsed_s if elapsed_s else None

    @property
    def was_busy(self) -> bool:
        """Whether this process used over 90 % of a core. False for few orders, or if the server stopped answering."""
        is_measured = self.stopped_s is None and self.tally.sent >= FEWEST_REQUESTS
        return is_measured and (self.cpu_share or 0.0) > BUSY_SHARE

    @cached_property
    def late_limit_s(self) -> float:
        """A request that is sent more than this many seconds after it was due counts as late."""
        return max(LATE_S, LATE_SHARE_OF_P99 * (self.latencies.percentile_ms(99) or 0.0) / 1e3)

    @property
    def was_late(self) -> bool:
        """Whether the load generator's own delays distort the latencies of an open loop.

        True if over 1 % of the requests that had a free connection were sent late: by more than 10 ms, and by more than
        a tenth of the latencies' p99. The limit of 10 ms exists because a few requests are always some milliseconds
        late if the server runs on this machine. The limit of a tenth exists because a delay of 20 ms does not matter if
        the server stalls for a second. The result is False for fewer than 100 requests, for up to 5 late requests, and
        if the server stopped responding.
        """
        if self.delays is None or self.stopped_s is not None or not self.counted:
            return False
        count, late = len(self.delays.late_ns), self.delays.later_than(self.late_limit_s * 1e9)
        return count >= FEWEST_REQUESTS and late > max(FEW_LATE_REQUESTS, LATE_SHARE_OF_REQUESTS * count)

    @property
    def generator_was_the_limit(self) -> bool:
        return self.was_busy or self.was_late

    @property
    def behind_s(self) -> float:
        """How many seconds the last request waited because all connections were busy. 0 if it waited under 0.1 s.

        Also 0 if the load generator was too slow, or if the server stopped responding.
        """
        if self.delays is None or self.generator_was_the_limit or self.stopped_s is not None:
            return 0.0
        behind_s = self.delays.last_wait_ns / 1e9
        return behind_s if behind_s >= BEHIND_S else 0.0

    @property
    def is_good(self) -> bool:
        """Whether orders were acknowledged, all of them are stored as sent and processed, and no 202 was wrong."""
        is_kept = self.is_read and self.read_back is not None and self.read_back.is_good
        return is_kept and len(self.tally.acknowledged) > 0 and not self.tally.wrong_202
