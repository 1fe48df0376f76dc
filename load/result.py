"""Owns what a run found, and what follows from it; values that are written on the event loop's thread."""

from dataclasses import dataclass, field
from functools import cached_property

from load.departures import Departures
from load.machine import BUSY_SHARE
from load.readback import Verdict
from load.recording import Distribution, Recording
from load.tally import Tally
from load.timeline import Course

LATE_S = 0.010
LATE_SHARE = 0.1
BEHIND_S = 0.1


@dataclass(kw_only=True)
class Result:
    """What a run found so far; times in seconds. None is what it did not come to.

    `started_ns` counts from 1970. `sending_s` is the time from the first request to the last answer. `phase` is what it
    was doing last. `departures` is None but in an open loop. `verdict` is of what has been read so far; `is_read` says
    that this is all.
    """

    orders: int
    warm_up_s: float = 0.0
    phase: str = "connecting"
    started_ns: int = 0
    tally: Tally = field(default_factory=Tally)
    recording: Recording = field(default_factory=Recording)
    departures: Departures | None = None
    backlog: Course = field(default_factory=Course)
    sending_s: float | None = None
    cpu_share: float | None = None
    waited_s: float | None = None
    verdict: Verdict | None = None
    is_read: bool = False
    interrupted: bool = False

    @cached_property
    def counted(self) -> Recording:
        """The answers to what was due after the warm-up; asked for when the sending is over."""
        return self.recording.due_from(int(self.warm_up_s * 1e9))

    @cached_property
    def latencies(self) -> Distribution:
        return Distribution(self.counted.latencies_ns)

    @cached_property
    def sending_latencies(self) -> Distribution:
        """How long the answers took from sending, which a closed loop would have said; none but in an open loop."""
        return Distribution(self.counted.sending_latencies_ns if self.departures else Recording().latencies_ns)

    @property
    def all_in_warm_up(self) -> bool:
        """Whether something was acknowledged, and no part of it after the warm-up."""
        return len(self.recording) > 0 and len(self.counted) == 0

    @property
    def elapsed_s(self) -> float | None:
        """From the end of the warm-up to the last answer."""
        if self.sending_s is None or (self.warm_up_s and not len(self.counted)):
            return None
        return self.sending_s - self.warm_up_s

    @property
    def orders_per_second(self) -> float | None:
        """Acknowledged orders over the time that the sending took, both without the warm-up."""
        return self.counted.total_orders / self.elapsed_s if self.elapsed_s else None

    @property
    def processed_s(self) -> float | None:
        """From the end of the warm-up until all was processed."""
        if self.waited_s is None or (self.warm_up_s and not len(self.counted)):
            return None
        return self.waited_s - self.warm_up_s

    @property
    def late_p99_s(self) -> float | None:
        """How late the client itself was in the open loop: what 99 % of requests with a free connection kept to."""
        late_ns = self.departures.late_p99_ns if self.departures else None
        return None if late_ns is None else late_ns / 1e9

    @property
    def was_busy(self) -> bool:
        """Whether this process used up a core while it sent: the server might have taken more."""
        return self.cpu_share is not None and self.cpu_share > BUSY_SHARE

    @property
    def was_late(self) -> bool:
        """Whether the client's own lateness makes up a part of the open loop's figures that counts.

        It does where 1 % of the requests that had a free connection left more than 10 ms late and that is more than a
        tenth of the latencies' p99. On a machine that the server shares, a few are always some milliseconds late; and
        beside a server that stalls for a second, 20 ms are nothing.
        """
        p99_ms = self.latencies.percentile_ms(99)
        late_s = self.late_p99_s
        return late_s is not None and p99_ms is not None and late_s > max(LATE_S, LATE_SHARE * p99_ms / 1e3)

    @property
    def generator_was_the_limit(self) -> bool:
        return self.was_busy or self.was_late

    @property
    def behind_s(self) -> float:
        """How long after it was due the last request was sent because all connections were busy; less than 100 ms is 0.

        A server that had fallen behind and caught up kept up. Where the generator was the limit, nothing is said of it.
        """
        behind_s = self.departures.last_wait_ns / 1e9 if self.departures else 0.0
        return behind_s if behind_s >= BEHIND_S and not self.generator_was_the_limit else 0.0

    @property
    def is_good(self) -> bool:
        """Whether something was acknowledged and all of it is there as it was sent, and processed."""
        return len(self.tally.acknowledged) > 0 and self.is_read and self.verdict is not None and self.verdict.is_good
