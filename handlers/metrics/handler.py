"""How it goes: one JSON object, or what Prometheus reads. Runs on the event loop."""

from collections.abc import Awaitable, Callable, Sequence

from handlers.metrics.accept import preferred
from handlers.metrics.prometheus import OPEN_METRICS, TEXT, Exposition, Rendered
from handlers.metrics.snapshot import Figures
from handlers.transport.base_handler import BaseHandler
from handlers.transport.in_flight import Traffic
from models.order import Totals

JSON = "application/json"
ANY_FORMAT = (JSON, OPEN_METRICS, TEXT)
PROMETHEUS_FORMATS = (TEXT, OPEN_METRICS)


class MetricsHandler(BaseHandler):
    """`GET /metrics`, in that of `media_types` which the client prefers, the first if it has no preference."""

    def initialize(
        self,
        *,
        traffic: Traffic,
        totals: Callable[[], Awaitable[Totals]],
        figures: Figures,
        exposition: Exposition,
        media_types: Sequence[str],
    ) -> None:
        self._join(traffic=traffic)
        self._totals = totals
        self._figures = figures
        self._exposition = exposition
        self._media_types = media_types

    async def get(self) -> None:
        preference = preferred(self.request.headers.get("Accept", ""), self._media_types)
        totals = await self._totals()
        self.set_header("Vary", "Accept")
        if preference.media_type == JSON:
            self.answer_json(self._figures.view_of(totals))
        else:
            self._answer_text(self._exposition.render(self._figures.state_of(totals), preference))

    head = get

    def _answer_text(self, rendered: Rendered) -> None:
        self.set_header("Content-Type", rendered.content_type)
        if self._traffic.draining:
            self.set_header("Connection", "close")
        self.finish(rendered.body)
