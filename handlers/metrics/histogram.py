"""Histograms and their quantiles. One thread at a time may write to a histogram; any thread may read it."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import accumulate, pairwise
from math import ceil, inf, log

MAX_RELATIVE_ERROR = 0.125
"""The largest error of a quantile, relative to the exact value."""
LOWEST_FRACTION = 0.002
"""Values below this fraction of the first bound are counted together."""


class Histogram:
    """For each bound in `bounds`, counts the values up to this bound. The bounds are positive and in ascending order.

    Internally, each interval between two bounds is divided into geometric steps. The length of a step is at most
    `MAX_RELATIVE_ERROR` times its lower end. The steps of the first interval begin at `LOWEST_FRACTION` of the first
    bound.
    """

    __slots__ = ("_bound_indexes", "_bounds", "_counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds, self._bound_indexes = _steps(tuple(bounds))
        self._counts = [0] * (len(self._bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, count: int = 1) -> None:
        """Counts the value `count` times."""
        self._counts[bisect_left(self._bounds, value)] += count
        self.sum += value * count

    def counts(self) -> list[int]:
        """How many values have been counted in each step (see `Histogram`)."""
        # Needs no lock: another thread adds a value by one change of one count, either before or after the copy.
        return self._counts.copy()

    def buckets(self) -> list[tuple[float, int]]:
        """Each of `bounds`, and infinity, with the number of all values up to this bound (cumulative)."""
        cumulative = list(accumulate(self.counts()))
        return [(bound, cumulative[index]) for bound, index in self._bound_indexes]

    def quantile(self, counts: Sequence[int], fraction: float) -> float | None:
        """The quantile of the values in `counts` for a fraction from 0 to 1; None if there are no values.

        `counts` has the number of values in each step, in the form of `Histogram.counts`. For n values, the error
        relative to the value of rank ceil(fraction * n) is at most `MAX_RELATIVE_ERROR`. The error can be larger below
        `LOWEST_FRACTION` of the first bound. Values above the last bound count as that bound.
        """
        total = sum(counts)
        if not total:
            return None
        rank = max(fraction * total, 1)
        lower = 0
        for step, count in enumerate(counts):
            if count and lower + count >= rank:
                return self._interpolate(step, (rank - lower) / count)
            lower += count
        raise AssertionError("the rank is at most the total")

    def _interpolate(self, step: int, fraction: float) -> float:
        """The value at this position within a step: a fraction of 0 is the lower end of the step, 1 the upper end."""
        if step == len(self._bounds):
            return self._bounds[-1]
        high = self._bounds[step]
        if step == 0:
            return high * fraction
        low = self._bounds[step - 1]
        value: float = low * (high / low) ** fraction
        return value


class RecentCounts:
    """The values that a histogram has counted since the last call of `take`."""

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._before = histogram.counts()

    def take(self) -> dict[int, int]:
        """The number of values that were counted since the last call, by step. Leaves out steps without values."""
        counts = self._histogram.counts()
        recent = {
            step: now - before
            for step, (now, before) in enumerate(zip(counts, self._before, strict=True))
            if now != before
        }
        self._before = counts
        return recent

    def quantile(self, counts: Mapping[int, int], fraction: float) -> float | None:
        """Like `Histogram.quantile`, with counts by step. Ignores steps that this histogram does not have."""
        if not counts:
            return None
        return self._histogram.quantile([counts.get(step, 0) for step in range(len(self._before))], fraction)


# Cached because computing the steps takes some time, and the tests start many servers in one process.
@cache
def _steps(bounds: tuple[float, ...]) -> tuple[tuple[float, ...], tuple[tuple[float, int], ...]]:
    """The upper ends of all steps, and the index of each bound and of infinity among them."""
    steps = [bounds[0] * LOWEST_FRACTION]
    for low, high in pairwise((steps[0], *bounds)):
        steps += _geometric_steps(low, high)
    return tuple(steps), (*((bound, steps.index(bound)) for bound in bounds), (inf, len(steps)))


def _geometric_steps(low: float, high: float) -> Iterator[float]:
    """The upper ends of the geometric steps from `low` to `high`. The last upper end is exactly `high`."""
    steps = ceil(log(high / low) / log(1 + MAX_RELATIVE_ERROR))
    for step in range(1, steps):
        yield low * (high / low) ** (step / steps)
    yield high
