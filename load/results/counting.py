"""Counts the responses to a run's orders, and computes latencies, rates and time series from them.

Runs on the event loop. Stores a few numbers for each response, in arrays, so that a long run needs little memory.
"""

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise
from math import ceil

from load.http.connection import Response
from load.http.connections import RequestTiming
from load.orders.comparison import ACCEPTED, NO_COUNTS, NOTHING_ACCEPTED, REPLAYED, counts_in, mistake_in, reason_in
from load.orders.sources import OrderSource

CURVE = (
    *range(0, 90, 10),
    *(90, 92.5, 95, 97, 98, 99, 99.25, 99.5, 99.75, 99.9, 99.925, 99.95, 99.975, 99.99, 99.995, 99.999),
)
"""The percentiles of the curve of latencies, closer together where the curve rises."""
MOST_INTERVALS = 200
SHORTEST_NS = 1_000_000
MOST_POINTS = 1000
MAX_REASON = 300


def percentile_of(ascending: Sequence[int], percentile: float) -> int:
    """Return a percentile by nearest rank; percentile 100 is the last value. Raises IndexError if there is no value."""
    # Rounded, because 41,000 * 99.9 / 100 is slightly over 40,959 in floating point.
    rank = ceil(round(len(ascending) * percentile / 100, 6))
    return ascending[max(1, rank) - 1]


class Distribution:
    """Computes percentiles of latencies."""

    def __init__(self, latencies_ns: Iterable[int]) -> None:
        self._ascending_ns = array("q", sorted(latencies_ns))

    def percentile_ms(self, percentile: float) -> float | None:
        """Return a percentile in milliseconds by nearest rank (100 is the maximum); None if there are no values."""
        return percentile_of(self._ascending_ns, percentile) / 1e6 if self._ascending_ns else None

    def curve(self) -> dict[str, list[float]]:
        """Return a list of percentiles and a list of their latencies. Leaves out percentiles that no value exceeds."""
        size = len(self._ascending_ns)
        percentiles = [*(float(one) for one in CURVE if round(size * (100 - one), 6) >= 100), 100.0] if size else []
        latencies_ms = [percentile_of(self._ascending_ns, one) / 1e6 for one in percentiles]
        return {"percentile": percentiles, "latency_ms": latencies_ms}


class Recording:
    """Stores for each response when it came, its latencies, and how many orders it acknowledged.

    Times are in nanoseconds since `started_ns`. `latencies_ns` begin when the request was due, and
    `sending_latencies_ns` when it was sent.
    """

    def __init__(self, *, started_ns: int = 0) -> None:
        self.started_ns = started_ns
        self.answered_ns = array("q")
        self.latencies_ns = array("q")
        self.sending_latencies_ns = array("q")
        self.orders = array("H")

    def __len__(self) -> int:
        return len(self.answered_ns)

    def add(self, timing: RequestTiming, *, orders: int) -> None:
        self.answered_ns.append(timing.answered_ns - self.started_ns)
        self.latencies_ns.append(timing.from_due_ns)
        self.sending_latencies_ns.append(timing.from_sending_ns)
        self.orders.append(orders)

    def due_from(self, first_ns: int) -> "Recording":
        """Return a recording of the responses whose requests were due at least `first_ns` after the start."""
        later = Recording()
        timings = map(RequestTiming, self.answered_ns, self.latencies_ns, self.sending_latencies_ns)
        for timing, orders in zip(timings, self.orders, strict=True):
            if timing.answered_ns - timing.from_due_ns >= first_ns:
                later.add(timing, orders=orders)
        return later


def interval_for(length_ns: int) -> int:
    """Return the shortest of 1, 2, 5, 10, ... ms that gives at most 200 intervals in `length_ns`, in nanoseconds."""
    lengths = (digit * int(10**power) * SHORTEST_NS for power in count() for digit in (1, 2, 5))
    return next(interval_ns for interval_ns in lengths if length_ns <= MOST_INTERVALS * interval_ns)


def timeline_of(recording: Recording) -> dict[str, object]:
    """Divide a run into intervals. Return lists with the acknowledged orders per second and latencies by interval.

    A response counts in the interval in which it came. In an interval without responses, the latencies are None.
    """
    answered_ns = recording.answered_ns
    last_ns = answered_ns[-1] if answered_ns else 0
    interval_ns = interval_for(last_ns)
    starts_ns = [number * interval_ns for number in range(last_ns // interval_ns + 1 if answered_ns else 0)]
    bounds = [*(bisect_left(answered_ns, start_ns) for start_ns in starts_ns), len(answered_ns)]
    intervals = [slice(first, end) for first, end in pairwise(bounds)]
    latencies = [Distribution(recording.latencies_ns[interval]) for interval in intervals]
    return {
        "interval_s": interval_ns / 1e9,
        "start_s": [start_ns / 1e9 for start_ns in starts_ns],
        "orders_per_second": [sum(recording.orders[interval]) * 1e9 / interval_ns for interval in intervals],
        "latency_p50_ms": [one.percentile_ms(50) for one in latencies],
        "latency_p99_ms": [one.percentile_ms(99) for one in latencies],
    }


def thinned(points: Sequence[tuple[float, int]]) -> list[tuple[float, int]]:
    """Return every nth point and the last point, at most 1,001 points in total."""
    step = max(1, ceil(len(points) / MOST_POINTS))
    return [*points[:-1:step], *points[-1:]]


@dataclass(kw_only=True)
class Tally:
    """Counts orders by the responses to them. `acknowledged` has the indexes of all orders that will be read back.

    `accepted` counts new orders, `duplicates` orders that the server already had, and `refused` rejected orders by
    status. By reason, `errors` counts orders without a valid response, and `wrong_202` counts orders with a wrong 202.
    Orders with a wrong 202 are in `acknowledged` only if they were sent one by one. `examples` has, for each status,
    the id of the first rejected order whose response gave a reason, and the reason.
    """

    acknowledged: "array[int]" = field(default_factory=lambda: array("q"))
    accepted: int = 0
    duplicates: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    examples: dict[int, tuple[int, str]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)
    wrong_202: Counter[str] = field(default_factory=Counter)

    def refuse(self, status: int, order_id: int, reason: str, orders: int = 1) -> None:
        self.refused[status] += orders
        if reason:
            self.examples.setdefault(status, (order_id, reason[:MAX_REASON]))

    def acknowledge(self, places: Iterable[int], *, accepted: int = 0, duplicates: int = 0) -> None:
        self.acknowledged.extend(places)
        self.accepted += accepted
        self.duplicates += duplicates

    @property
    def sent(self) -> int:
        others = self.refused.total() + self.errors.total() + self.wrong_202.total()
        return self.accepted + self.duplicates + others


@dataclass(frozen=True, kw_only=True)
class ResponseCounter:
    """Counts responses to `POST /order`, or to `POST /orders` with arrays of `bulk` orders if `bulk` is not None.

    `first` is the index in the source of the request's first order. Only the latencies of correct 202s are recorded,
    because fast rejections do not make a server fast.
    """

    source: OrderSource
    tally: Tally
    recording: Recording
    bulk: int | None

    def answered(self, first: int, response: Response, timing: RequestTiming) -> None:
        count = self._count_order if self.bulk is None else self._count_array
        if acknowledged := count(first, response):
            self.recording.add(timing, orders=acknowledged)

    def unanswered(self, first: int, reason: str) -> None:
        self.tally.errors[reason] += self._orders_from(first)

    def _orders_from(self, first: int) -> int:
        return min(self.bulk or 1, len(self.source) - first)

    def _count_order(self, place: int, response: Response) -> int:
        """Count an order. Return 1 if its 202 is correct, else 0. A wrong 202 also acknowledges the order."""
        tally, order_id = self.tally, self.source.order_id(place)
        if response.status != ACCEPTED:
            tally.refuse(response.status, order_id, reason_in(response))
        elif mistake := mistake_in(response, order_id):
            tally.wrong_202[mistake] += 1
            tally.acknowledged.append(place)
        else:
            is_duplicate = REPLAYED in response.head
            tally.acknowledge((place,), accepted=not is_duplicate, duplicates=is_duplicate)
            return 1
        return 0

    def _count_array(self, first: int, response: Response) -> int:
        """Count the orders of an array, and return how many of them were acknowledged.

        If a 202 is wrong, it is not known which orders it acknowledges, so none of them is read back.
        """
        tally, orders, status = self.tally, self._orders_from(first), response.status
        counts, is_accepted = counts_in(response), response.status == ACCEPTED
        if not is_accepted and (status != NOTHING_ACCEPTED or counts is None):
            tally.refuse(status, self.source.order_id(first), reason_in(response), orders)
        elif counts is None:
            tally.wrong_202[NO_COUNTS] += orders
        elif not counts.adds_up(orders):
            wrong = tally.wrong_202 if is_accepted else tally.errors
            wrong[f"a {status} whose counts don't add up"] += orders
        elif not is_accepted and counts.rejected_total < orders:
            tally.errors[f"a {status} that accepts orders"] += orders
        else:
            rejected = {rejection.index for rejection in counts.rejected}
            places = (first + place for place in range(orders) if place not in rejected)
            tally.acknowledge(places, accepted=counts.accepted, duplicates=counts.duplicates)
            for rejection in counts.rejected:
                tally.refuse(rejection.status, self.source.order_id(first + rejection.index), rejection.detail)
            return orders - counts.rejected_total
        return 0
