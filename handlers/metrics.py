"""How it goes: one JSON object, or what Prometheus reads. Runs on the event loop."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from handlers.accept import preferred
from handlers.base import BaseHandler
from handlers.exposition import OPEN_METRICS, TEXT, Exposition, Rendered, State
from handlers.traffic import Traffic
from models.order import Totals

JSON = "application/json"
ANY_FORMAT = (JSON, OPEN_METRICS, TEXT)
PROMETHEUS_FORMATS = (TEXT, OPEN_METRICS)

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
    """`GET /metrics`, in that of `media_types` which the client prefers, the first if it has no preference.

    `rates` returns the orders accepted and completed per second, `clock` microseconds since 1970, `uptime_s` seconds
    since the start.
    """

    def initialize(
        self,
        *,
        traffic: Traffic,
        totals: Callable[[], Awaitable[Totals]],
        rates: Callable[[Totals], tuple[float, float]],
        clock: Callable[[], int],
        uptime_s: Callable[[], float],
        exposition: Exposition,
        media_types: Sequence[str],
    ) -> None:
        self._join(traffic=traffic)
        self._totals = totals
        self._rates = rates
        self._clock = clock
        self._uptime_s = uptime_s
        self._exposition = exposition
        self._media_types = media_types

    async def get(self) -> None:
        preference = preferred(self.request.headers.get("Accept", ""), self._media_types)
        totals = await self._totals()
        oldest_us = totals.oldest_pending_us
        oldest_s = 0.0 if oldest_us is None else max(0, self._clock() - oldest_us) / _MICROSECONDS
        state = State(totals, oldest_s, self._uptime_s())
        self.set_header("Vary", "Accept")
        if preference.media_type == JSON:
            self.answer_json(self._view_of(state))
        else:
            self._answer_text(self._exposition.render(state, preference))

    head = get

    def _answer_text(self, rendered: Rendered) -> None:
        self.set_header("Content-Type", rendered.content_type)
        if self._traffic.draining:
            self.set_header("Connection", "close")
        self.finish(rendered.body)

    def _view_of(self, state: State) -> MetricsView:
        totals = state.totals
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
