"""Measures for how long clients get no 202 because of failovers. Runs on the event loop."""

import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import median


@dataclass(frozen=True, kw_only=True)
class Outage:
    """The effect of a failover on clients: times in seconds, until the first 202 that the new primary made possible.

    `from_kill_s` begins when the primary is killed, `from_promotion_s` when the promotion of the standby has ended.
    `longest_gap_s` is the longest time between two 202s while PostgreSQL has no primary or the new one has no standby.
    """

    from_kill_s: float
    from_promotion_s: float
    longest_gap_s: float


class AcceptanceTimes:
    """Records when clients receive 202s, in seconds of `clock_s`."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._times_s = array("d")

    def note(self) -> None:
        """Must be called when a client has received a 202 for a new order."""
        self._times_s.append(self._clock_s())

    def has_any_since(self, moment_s: float) -> bool:
        return bool(self._times_s) and self._times_s[-1] >= moment_s

    def longest_gap_s(self, begin_s: float, end_s: float) -> float:
        """Return the longest time between two 202s, from the last one before `begin_s` to the first since `end_s`."""
        begin, end = (bisect_left(self._times_s, moment_s) for moment_s in (begin_s, end_s))
        return max((b - a for a, b in pairwise(self._times_s[max(0, begin - 1) : end + 1])), default=0.0)

    def outage(self, *, killed_s: float, promoting_s: float, promoted_s: float, restored_s: float) -> Outage:
        """Return the effect of a failover. There must be a 202 since `promoting_s`, when the promotion began.

        Between the kill and this moment, only responses to earlier commits arrive.
        """
        first_s = self._times_s[bisect_left(self._times_s, promoting_s)]
        return Outage(
            from_kill_s=first_s - killed_s,
            from_promotion_s=max(0.0, first_s - promoted_s),
            longest_gap_s=self.longest_gap_s(killed_s, max(first_s, restored_s)),
        )


def summarize(outages: Sequence[Outage]) -> Mapping[str, Mapping[str, float]]:
    """Return the median and the longest of each time, rounded to milliseconds. `outages` must not be empty."""
    times = {name: [asdict(outage)[name] for outage in outages] for name in asdict(outages[0])}
    return {name: {"median": round(median(each), 3), "longest": round(max(each), 3)} for name, each in times.items()}
