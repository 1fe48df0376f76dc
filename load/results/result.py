"""Owns what a run found, and what follows from it; values that are written on the event loop's thread."""

from dataclasses import dataclass, field
from functools import cached_property

from load.http.departures import Departures
from load.readback import Verdict
from load.results.recording import Distribution, Recording
from load.results.tally import Tally
from load.results.timeline import Course
from load.system.machine import BUSY_SHARE

LATE_S = 0.010
LATE_SHARE = 0.1
LATE_PARTS = 0.01
ENOUGH = 100
A_HANDFUL = 5
BEHIND_S = 0.1


@dataclass(kw_only=True)
class Result:
    """What a run found so far; times in seconds. None is what it did not come to.

    `started_ns` counts from 1970. `sending_s` is the time from the first request to the last answer, and in an open
    loop until all that was due had been, if that is later; `stopped_s` that to the last answer of a server that then
    stopped answering; `waited_s` that until all was processed, at the latest. `phase` is what it was doing last.
    `departures` is None but in an open loop. `verdict` is of what has been read so far; `is_read` says that this is
    all.
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
    stopped_s: float | None = None
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
        """How long the answers took without the wait for a free connection; none but in an open loop.

        Where there were enough connections that is the same: a closed loop would have sent fewer into a stall.
        """
        return Distribution(self.counted.sending_latencies_ns if self.departures else Recording().latencies_ns)

    @property
    def all_in_warm_up(self) -> bool:
        """Whether something was acknowledged, and no part of it after the warm-up."""
        return len(self.recording) > 0 and len(self.counted) == 0

    @property
    def elapsed_s(self) -> float | None:
        """From the end of the warm-up to the end of `sending_s`."""
        if self.sending_s is None or (self.warm_up_s and not len(self.counted)):
            return None
        return self.sending_s - self.warm_up_s

    @property
    def orders_per_second(self) -> float | None:
        """Acknowledged orders over the time that the sending took, both without the warm-up."""
        return self.counted.total_orders / self.elapsed_s if self.elapsed_s else None

    @property
    def processed_s(self) -> float | None:
        """From the end of the warm-up until all was processed, at the latest; None where that is not known."""
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
        """Whether this process used up a core while it sent: the server might have taken more.

        Where the server stopped answering, it was used up by trying to connect; fewer than 100 orders tell nothing.
        """
        if self.cpu_share is None or self.stopped_s is not None or self.tally.sent < ENOUGH:
            return False
        return self.cpu_share > BUSY_SHARE

    @property
    def late_limit_s(self) -> float:
        """How late a request has to be for that to make up a part of the figures that counts."""
        return max(LATE_S, LATE_SHARE * (self.latencies.percentile_ms(99) or 0.0) / 1e3)

    @cached_property
    def late_requests(self) -> int:
        """How many requests that had a free connection were later than that."""
        return self.departures.later_than(self.late_limit_s * 1e9) if self.departures else 0

    @property
    def was_late(self) -> bool:
        """Whether the client's own lateness makes up a part of the open loop's figures that counts.

        It does where 1 % of the requests that had a free connection left more than 10 ms late and that is more than a
        tenth of the latencies' p99. On a machine that the server shares, a few are always some milliseconds late; and
        beside a server that stalls for a second, 20 ms are nothing. Of fewer than 100 requests, of a handful of late
        ones, and beside a server that stopped answering nothing is said.
        """
        if self.departures is None or self.stopped_s is not None or not len(self.counted):
            return False
        count = len(self.departures.late_ns)
        return count >= ENOUGH and self.late_requests > max(A_HANDFUL, LATE_PARTS * count)

    @property
    def generator_was_the_limit(self) -> bool:
        return self.was_busy or self.was_late

    @property
    def behind_s(self) -> float:
        """How long after it was due the last request was sent because all connections were busy; less than 100 ms is 0.

        A server that had fallen behind and caught up kept up. Where the generator was the limit, or the server stopped
        answering, nothing is said of it.
        """
        if self.departures is None or self.generator_was_the_limit or self.stopped_s is not None:
            return 0.0
        behind_s = self.departures.last_wait_ns / 1e9
        return behind_s if behind_s >= BEHIND_S else 0.0

    @property
    def is_good(self) -> bool:
        """Whether something was acknowledged and all of it is there as it was sent, and processed.

        A 202 is a promise, so a wrong one is none that was kept.
        """
        is_kept = self.is_read and self.verdict is not None and self.verdict.is_good
        return is_kept and len(self.tally.acknowledged) > 0 and not self.tally.wrong_202
