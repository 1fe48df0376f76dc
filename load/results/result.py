"""What a run measured, and what follows from it. Values that the event loop writes."""

from dataclasses import dataclass, field
from functools import cached_property

from load.http.open_loop import SendDelays
from load.results.counting import Tally
from load.results.read_back import ReadBackResult
from load.results.recording import Distribution, Recording, TimeSeries
from load.system.machine import BUSY_SHARE

LATE_S = 0.010
LATE_SHARE_OF_P99 = 0.1
LATE_SHARE_OF_REQUESTS = 0.01
FEWEST_REQUESTS = 100
FEW_LATE_REQUESTS = 5
BEHIND_S = 0.1


@dataclass(kw_only=True)
class Result:
    """What a run measured so far; times in seconds, None for what it has not measured.

    `started_ns` counts from 1970. `sending_s` is the time from the first request to the last response, and in an open
    loop at least until the last request was due. `stopped_s` is the time to the last response of a server that then
    stopped answering, `waited_s` the time until all was processed at the latest, `phase` what the run did last.
    `delays` is None except in an open loop. `read_back` has what was read so far; `is_read` says that this is all.
    """

    orders: int
    warm_up_s: float = 0.0
    phase: str = "connecting"
    started_ns: int = 0
    tally: Tally = field(default_factory=Tally)
    recording: Recording = field(default_factory=Recording)
    delays: SendDelays | None = None
    backlog: TimeSeries = field(default_factory=TimeSeries)
    sending_s: float | None = None
    stopped_s: float | None = None
    cpu_share: float | None = None
    waited_s: float | None = None
    read_back: ReadBackResult | None = None
    is_read: bool = False
    interrupted: bool = False

    @cached_property
    def counted(self) -> Recording:
        """The responses to requests that were due after the warm-up; read this after the sending."""
        return self.recording.due_from(int(self.warm_up_s * 1e9))

    @cached_property
    def latencies(self) -> Distribution:
        return Distribution(self.counted.latencies_ns)

    @cached_property
    def sending_latencies(self) -> Distribution:
        """Latencies without the wait for a free connection; empty except in an open loop."""
        return Distribution(self.counted.sending_latencies_ns if self.delays else ())

    @property
    def elapsed_s(self) -> float | None:
        """From the end of the warm-up to the end of the sending."""
        return self.after_warm_up(self.sending_s)

    def after_warm_up(self, time_s: float | None) -> float | None:
        """Count a time from the end of the warm-up; None if it is not known, or if nothing came after the warm-up."""
        if time_s is None or (self.warm_up_s and not len(self.counted)):
            return None
        return time_s - self.warm_up_s

    @property
    def orders_per_second(self) -> float | None:
        """Acknowledged orders by the time that the sending took, both without the warm-up."""
        return sum(self.counted.orders) / self.elapsed_s if self.elapsed_s else None

    @property
    def was_busy(self) -> bool:
        """Whether this process used up a core while it sent, so that the server might have taken more.

        False if the server stopped answering, since trying to connect used the core up, and for fewer than 100 orders.
        """
        is_measured = self.stopped_s is None and self.tally.sent >= FEWEST_REQUESTS
        return is_measured and (self.cpu_share or 0.0) > BUSY_SHARE

    @cached_property
    def late_limit_s(self) -> float:
        """The delay from which a request is late enough to distort the latencies."""
        return max(LATE_S, LATE_SHARE_OF_P99 * (self.latencies.percentile_ms(99) or 0.0) / 1e3)

    @property
    def was_late(self) -> bool:
        """Whether the client's own delays distort the latencies of an open loop.

        They do if over 1 % of the requests that had a free connection were sent more than 10 ms late, and this is more
        than a tenth of the latencies' p99. On a machine that the server shares, a few are always some milliseconds
        late; and beside a server that stalls for a second, 20 ms do not matter. False for fewer than 100 requests, for
        up to 5 late ones, and if the server stopped answering.
        """
        if self.delays is None or self.stopped_s is not None or not len(self.counted):
            return False
        count, late = len(self.delays.late_ns), self.delays.later_than(self.late_limit_s * 1e9)
        return count >= FEWEST_REQUESTS and late > max(FEW_LATE_REQUESTS, LATE_SHARE_OF_REQUESTS * count)

    @property
    def generator_was_the_limit(self) -> bool:
        return self.was_busy or self.was_late

    @property
    def behind_s(self) -> float:
        """How long after it was due the last request was sent because all connections were busy; 0 if under 100 ms.

        0 if the server caught up before the end, if the generator was the limit, or if the server stopped answering.
        """
        if self.delays is None or self.generator_was_the_limit or self.stopped_s is not None:
            return 0.0
        behind_s = self.delays.last_wait_ns / 1e9
        return behind_s if behind_s >= BEHIND_S else 0.0

    @property
    def is_good(self) -> bool:
        """Whether some orders were acknowledged, all are there as sent and processed, and no 202 was wrong."""
        is_kept = self.is_read and self.read_back is not None and self.read_back.is_good
        return is_kept and len(self.tally.acknowledged) > 0 and not self.tally.wrong_202
