"""The numbers of `GET /metrics`, made from the totals and what is true beside them. Lives on the event loop."""

from collections.abc import Callable
from typing import NamedTuple

from msgspec import Struct

from models.order import Totals

_MICROSECONDS = 1_000_000


class State(NamedTuple):
    """What is true now, as opposed to what was noted on the way here. Times in seconds."""

    totals: Totals
    oldest_pending_s: float
    uptime_s: float


class MetricsView(Struct, gc=False):
    """Counts of orders by status; times in seconds, rates in orders per second over the last minute."""

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


class Figures:
    """What the totals come to.

    `rates` returns the orders accepted and completed per second, `clock` microseconds since 1970, `uptime_s` seconds
    since the start.
    """

    def __init__(
        self,
        *,
        rates: Callable[[Totals], tuple[float, float]],
        clock: Callable[[], int],
        uptime_s: Callable[[], float],
    ) -> None:
        self._rates = rates
        self._clock = clock
        self._uptime_s = uptime_s

    def state_of(self, totals: Totals) -> State:
        """With what the clocks say."""
        oldest_us = totals.oldest_pending_us
        oldest_s = 0.0 if oldest_us is None else max(0, self._clock() - oldest_us) / _MICROSECONDS
        return State(totals, oldest_s, self._uptime_s())

    def view_of(self, totals: Totals) -> MetricsView:
        """As everybody is told of it."""
        state = self.state_of(totals)
        accepted_per_s, completed_per_s = self._rates(totals)
        return MetricsView(
            total_orders=totals.orders,
            avg_processing_time=totals.processing_us / totals.completed / _MICROSECONDS if totals.completed else 0.0,
            pending_orders=totals.pending,
            processing_orders=totals.processing,
            completed_orders=totals.completed,
            failed_orders=totals.failed,
            cancelled_orders=totals.cancelled,
            oldest_pending_seconds=state.oldest_pending_s,
            accepted_per_second=round(accepted_per_s, 3),
            completed_per_second=round(completed_per_s, 3),
            uptime_seconds=round(state.uptime_s, 3),
        )
