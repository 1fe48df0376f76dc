"""The current metrics: totals, rates and uptime, and their JSON for `GET /metrics`. Runs on the event loop."""

from collections.abc import Callable
from typing import NamedTuple

from msgspec import Struct

from handlers.metrics.rates import Rate, Rates
from models.order import Totals

_MICROSECONDS = 1_000_000


class MetricsView(Struct, gc=False):
    """Counts of orders by status; times in seconds, rates in orders per second over the last minute.

    `paused` says whether processing is paused.
    """

    total_orders: int
    avg_processing_time: float
    pending_orders: int
    processing_orders: int
    completed_orders: int
    failed_orders: int
    cancelled_orders: int
    oldest_pending_seconds: float
    accepted_per_second: float
    completed_per_second: float
    uptime_seconds: float
    paused: bool


class MetricsSnapshot(NamedTuple):
    """The metrics at one time. Ages and uptime are in seconds."""

    totals: Totals
    oldest_pending_s: float
    uptime_s: float
    rate: Rate

    def as_view(self) -> MetricsView:
        """The JSON object of `GET /metrics`."""
        totals = self.totals
        return MetricsView(
            total_orders=totals.orders,
            avg_processing_time=totals.processing_us / totals.completed / _MICROSECONDS if totals.completed else 0.0,
            pending_orders=totals.pending,
            processing_orders=totals.processing,
            completed_orders=totals.completed,
            failed_orders=totals.failed,
            cancelled_orders=totals.cancelled,
            oldest_pending_seconds=self.oldest_pending_s,
            accepted_per_second=round(self.rate.accepted, 3),
            completed_per_second=round(self.rate.completed, 3),
            uptime_seconds=round(self.uptime_s, 3),
            paused=totals.is_paused,
        )


class SnapshotSource:
    """Makes snapshots. `clock` returns steady time in microseconds, `monotonic` returns seconds.

    Uptime counts from the construction of this object.
    """

    def __init__(self, *, rates: Rates, clock: Callable[[], int], monotonic: Callable[[], float]) -> None:
        self._rates = rates
        self._clock = clock
        self._monotonic = monotonic
        self._started_s = monotonic()

    def take(self, totals: Totals) -> MetricsSnapshot:
        """The current metrics. `totals` must be the current totals."""
        oldest_us = totals.oldest_pending_us
        oldest_s = 0.0 if oldest_us is None else max(0, self._clock() - oldest_us) / _MICROSECONDS
        return MetricsSnapshot(totals, oldest_s, self._monotonic() - self._started_s, self._rates.up_to(totals))
