"""How it goes, as one JSON object. Runs on the event loop."""

from collections.abc import Awaitable, Callable

import msgspec

from handlers.base import BaseHandler
from handlers.traffic import Traffic
from models.order import Totals

_MICROSECONDS = 1_000_000


class MetricsView(msgspec.Struct, gc=False):
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


class MetricsHandler(BaseHandler):
    """`GET /metrics`. `rates` returns the orders accepted and completed per second, `clock` microseconds
    since 1970, `uptime_s` seconds since the start."""

    def initialize(
        self,
        *,
        traffic: Traffic,
        totals: Callable[[], Awaitable[Totals]],
        rates: Callable[[Totals], tuple[float, float]],
        clock: Callable[[], int],
        uptime_s: Callable[[], float],
    ) -> None:
        self._join(traffic=traffic)
        self._totals = totals
        self._rates = rates
        self._clock = clock
        self._uptime_s = uptime_s

    async def get(self) -> None:
        totals = await self._totals()
        accepted_per_s, completed_per_s = self._rates(totals)
        oldest_us = totals.oldest_pending_us
        self.answer_json(
            MetricsView(
                total_orders=totals.orders,
                avg_processing_time=totals.processing_us / totals.completed / _MICROSECONDS
                if totals.completed
                else 0.0,
                pending_orders=totals.pending,
                processing_orders=totals.processing,
                completed_orders=totals.completed,
                failed_orders=totals.failed,
                cancelled_orders=totals.cancelled,
                oldest_pending_seconds=0.0 if oldest_us is None else max(0, self._clock() - oldest_us) / _MICROSECONDS,
                accepted_per_second=round(accepted_per_s, 3),
                completed_per_second=round(completed_per_s, 3),
                uptime_seconds=round(self._uptime_s(), 3),
            )
        )

    head = get
