"""When responses that acknowledged orders came, and how long they took. Values that the event loop writes.

A few numbers for each response, in arrays, so that a long run takes little memory.
"""

from array import array
from collections.abc import Iterable, Sequence
from math import ceil

from load.http.connections import RequestTiming

CURVE = (
    *range(0, 90, 10),
    *(90, 92.5, 95, 97, 98, 99, 99.25, 99.5, 99.75, 99.9, 99.925, 99.95, 99.975, 99.99, 99.995, 99.999),
)
"""Percentiles to draw a curve through, closer together where it rises."""


def percentile_of(ascending: Sequence[int], percentile: float) -> int:
    """Return the percentile by nearest rank; 100 is the last value. IndexError if there are no values."""
    # Rounded, since 41,000 * 99.9 / 100 is a little more than 40,959 in floating point.
    rank = ceil(round(len(ascending) * percentile / 100, 6))
    return ascending[max(1, rank) - 1]


class Recording:
    """Responses in the order in which they came: when, how long since the request was due and sent, how many orders.

    `answered_ns` counts from `started_ns`, when the first request was sent.
    """

    def __init__(self, *, started_ns: int = 0) -> None:
        self.started_ns = started_ns
        self.answered_ns = array("q")
        self.latencies_ns = array("q")
        self.sending_latencies_ns = array("q")
        self.orders = array("H")

    def add(self, timing: RequestTiming, *, orders: int) -> None:
        self.answered_ns.append(timing.answered_ns - self.started_ns)
        self.latencies_ns.append(timing.from_due_ns)
        self.sending_latencies_ns.append(timing.from_sending_ns)
        self.orders.append(orders)

    def __len__(self) -> int:
        return len(self.answered_ns)

    @property
    def total_orders(self) -> int:
        return sum(self.orders)

    @property
    def last_answer_ns(self) -> int:
        """When the last response came; 0 if there is none."""
        return self.answered_ns[-1] if self.answered_ns else 0

    def due_from(self, first_ns: int) -> "Recording":
        """Return those whose requests were due then or later."""
        if not first_ns:
            return self
        later = Recording()
        for *timing, orders in zip(
            self.answered_ns, self.latencies_ns, self.sending_latencies_ns, self.orders, strict=True
        ):
            if timing[0] - timing[1] >= first_ns:
                later.add(RequestTiming(*timing), orders=orders)
        return later


class Distribution:
    """Latencies, sorted once."""

    def __init__(self, latencies_ns: Iterable[int]) -> None:
        self._ascending_ns = array("q", sorted(latencies_ns))

    def percentile_ms(self, percentile: float) -> float | None:
        """Return a percentile in milliseconds by nearest rank (100 is the maximum); None if there are no values."""
        return percentile_of(self._ascending_ns, percentile) / 1e6 if self._ascending_ns else None

    def curve(self) -> dict[str, list[float]]:
        """Return percentiles and their latencies, as far as there are enough values for one to be above each."""
        count = len(self._ascending_ns)
        if not count:
            return {"percentile": [], "latency_ms": []}
        percentiles = [*(float(one) for one in CURVE if round(count * (100 - one), 6) >= 100), 100.0]
        return {
            "percentile": percentiles,
            "latency_ms": [percentile_of(self._ascending_ns, one) / 1e6 for one in percentiles],
        }
