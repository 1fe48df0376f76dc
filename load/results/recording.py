"""Owns when the answers came that acknowledged orders, and how long they took, on the event loop's thread.

A few numbers an answer, in arrays, so that a long run takes little memory.
"""

from array import array
from collections.abc import Iterable

from load.results.percentile import percentile_of

CURVE = (
    *range(0, 90, 10),
    *(90, 92.5, 95, 97, 98, 99, 99.25, 99.5, 99.75, 99.9, 99.925, 99.95, 99.975, 99.99, 99.995, 99.999),
)
"""Percentiles to draw a curve through, closer together where it rises."""


class Recording:
    """Answers in the order of their coming: when, how long since the request was due and sent, how many orders.

    `answered_ns` counts from the first request. In a closed loop a request is due when it is sent.
    """

    def __init__(self) -> None:
        self.answered_ns = array("q")
        self.latencies_ns = array("q")
        self.sending_latencies_ns = array("q")
        self.orders = array("H")

    def add(self, *, answered_ns: int, latency_ns: int, sending_latency_ns: int, orders: int) -> None:
        self.answered_ns.append(answered_ns)
        self.latencies_ns.append(latency_ns)
        self.sending_latencies_ns.append(sending_latency_ns)
        self.orders.append(orders)

    def __len__(self) -> int:
        return len(self.answered_ns)

    @property
    def total_orders(self) -> int:
        return sum(self.orders)

    @property
    def last_answer_ns(self) -> int:
        """When the last of them came; 0 before the first."""
        return self.answered_ns[-1] if self.answered_ns else 0

    def due_from(self, first_ns: int) -> "Recording":
        """Give those whose requests were due then or later."""
        if not first_ns:
            return self
        later = Recording()
        for answered_ns, latency_ns, sending_latency_ns, orders in zip(
            self.answered_ns, self.latencies_ns, self.sending_latencies_ns, self.orders, strict=True
        ):
            if answered_ns - latency_ns >= first_ns:
                later.add(
                    answered_ns=answered_ns,
                    latency_ns=latency_ns,
                    sending_latency_ns=sending_latency_ns,
                    orders=orders,
                )
        return later


class Distribution:
    """Latencies, sorted once."""

    def __init__(self, latencies_ns: Iterable[int]) -> None:
        self._ascending_ns = array("q", sorted(latencies_ns))

    def percentile_ms(self, percentile: float) -> float | None:
        """Give a percentile in milliseconds by nearest rank (100 is the maximum); None where there are none."""
        return percentile_of(self._ascending_ns, percentile) / 1e6 if self._ascending_ns else None

    def curve(self) -> dict[str, list[float]]:
        """Give percentiles and their latencies, as far as there are enough values for one to lie above each."""
        count = len(self._ascending_ns)
        if not count:
            return {"percentile": [], "latency_ms": []}
        percentiles = [*(float(one) for one in CURVE if round(count * (100 - one), 6) >= 100), 100.0]
        return {
            "percentile": percentiles,
            "latency_ms": [percentile_of(self._ascending_ns, one) / 1e6 for one in percentiles],
        }
