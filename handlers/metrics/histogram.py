"""How often values fell where, and their quantiles. One thread writes a histogram, any may read it."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from math import ceil, inf, log

MAX_RELATIVE_ERROR = 0.125
"""How far a quantile may be from the value that it stands for, as a part of that value."""
LOWEST_PART = 0.002
"""Values below this part of the first bound are not told apart."""


class Histogram:
    """How often a value was at most each of `bounds`, which ascend from above 0.

    Within, each interval is divided into geometric steps, none longer than `MAX_RELATIVE_ERROR` of its lower end; for
    the first one they begin at `LOWEST_PART` of the first bound.
    """

    __slots__ = ("_bounds", "_counts", "_places", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        steps = [bounds[0] * LOWEST_PART]
        for low, high in pairwise((steps[0], *bounds)):
            steps += _divided(low, high)
        self._bounds = tuple(steps)
        self._counts = [0] * (len(steps) + 1)
        self._places = [(bound, steps.index(bound)) for bound in bounds] + [(inf, len(steps))]
        self.sum = 0.0

    def observe(self, value: float, count: int = 1) -> None:
        """Notes that the value was met `count` times."""
        self._counts[bisect_left(self._bounds, value)] += count
        self.sum += value * count

    def counts(self) -> list[int]:
        """How many values fell into each step until now."""
        # A copy: what another thread notes meanwhile is in it as a whole or not at all.
        return self._counts.copy()

    def buckets(self) -> list[tuple[float, int]]:
        """Each of `bounds`, and at last infinity, with how many values were at most that."""
        below = list(accumulate(self.counts()))
        return [(bound, below[place]) for bound, place in self._places]

    def quantile(self, counts: Sequence[int], part: float) -> float | None:
        """The value that `part` (0 to 1) of those in `counts` are at most; None where there are none.

        As far as `MAX_RELATIVE_ERROR` from that of rank ceil(part * n) at the most, but for values below
        `LOWEST_PART` of the first bound, which may be taken for that, and values above the last bound, which are taken
        for it.
        """
        total = sum(counts)
        if not total:
            return None
        rank = max(part * total, 1)
        below = 0
        for place, count in enumerate(counts):
            if count and below + count >= rank:
                return self._within(place, (rank - below) / count)
            below += count
        raise AssertionError("no part is more than all")

    def _within(self, place: int, part: float) -> float:
        """The point that far (0 to 1) on the way through a step."""
        if place == len(self._bounds):
            return self._bounds[-1]
        high = self._bounds[place]
        if place == 0:
            return high * part
        low = self._bounds[place - 1]
        within: float = low * (high / low) ** part
        return within


class RecentQuantiles:
    """What came into a histogram since the last look at it."""

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._before = histogram.counts()

    def quantiles(self, *parts: float) -> list[float | None]:
        """One for each part of what came since the last call, as `Histogram.quantile` has it."""
        counts = self._histogram.counts()
        fresh = [now - before for now, before in zip(counts, self._before, strict=True)]
        self._before = counts
        return [self._histogram.quantile(fresh, part) for part in parts]


def _divided(low: float, high: float) -> Iterator[float]:
    """The upper ends of the geometric steps from one to the other; the last one is `high` itself."""
    steps = ceil(log(high / low) / log(1 + MAX_RELATIVE_ERROR))
    for step in range(1, steps):
        yield low * (high / low) ** (step / steps)
    yield high
