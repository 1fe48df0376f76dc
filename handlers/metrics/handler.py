"""`GET /metrics`: JSON, Prometheus text or OpenMetrics. Runs on the event loop."""

from collections.abc import Sequence

from handlers.metrics.content_negotiation import preferred
from handlers.metrics.prometheus import OPEN_METRICS, TEXT, PrometheusRenderer, RenderedMetrics
from handlers.metrics.snapshot import SnapshotSource
from handlers.requests.base_handler import BaseHandler
from handlers.service import Service
from handlers.transport.in_flight import InFlightRequests
from models.errors import StorageError

JSON = "application/json"
ANY_FORMAT = (JSON, OPEN_METRICS, TEXT)
PROMETHEUS_FORMATS = (TEXT, OPEN_METRICS)


class MetricsHandler(BaseHandler):
    """`GET /metrics` and `/metrics/prometheus`: the client chooses one of `media_types`; the first is the default."""

    def initialize(
        self,
        *,
        in_flight: InFlightRequests,
        service: Service,
        snapshots: SnapshotSource,
        prometheus: PrometheusRenderer,
        media_types: Sequence[str],
    ) -> None:
        self._count_in_flight(in_flight=in_flight)
        self._service = service
        self._snapshots = snapshots
        self._prometheus = prometheus
        self._media_types = media_types

    async def get(self) -> None:
        preference = preferred(self.request.headers.get("Accept", ""), self._media_types)
        is_json = preference.media_type == JSON
        try:
            snapshot = self._snapshots.take(await self._service.totals())
        except StorageError:
            if is_json:
                raise
            snapshot = None  # the response still has `orders_storage_up`, which shows the failure
        status = await self._service.storage_status()
        self.set_header("Vary", "Accept")
        if is_json and snapshot:
            self.answer_json(snapshot.as_view(status))
        else:
            self._answer_text(self._prometheus.render(snapshot, status, preference))

    head = get

    def _answer_text(self, rendered: RenderedMetrics) -> None:
        self.set_header("Content-Type", rendered.content_type)
        if self._in_flight.draining:
            self.set_header("Connection", "close")
        self.finish(rendered.body)
