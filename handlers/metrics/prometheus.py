"""Renders the metrics as Prometheus text and as OpenMetrics. Runs on the event loop."""

from collections.abc import Iterator, Mapping
from math import inf
from typing import NamedTuple

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from handlers.metrics.accept import AcceptedType
from handlers.metrics.histogram import Histogram
from handlers.metrics.instruments import Instruments
from handlers.metrics.process_collector import ProcessCollector
from handlers.metrics.snapshot import MetricsSnapshot
from models.order import Status

TEXT = "text/plain"
OPEN_METRICS = "application/openmetrics-text"

_VERSIONS = {TEXT: ("0.0.4", "1.0.0"), OPEN_METRICS: ("1.0.0",)}
"""Which versions of the formats are written; of another one, the format's oldest here is written instead."""
_MICROSECONDS = 1_000_000


class RenderedMetrics(NamedTuple):
    """A body and its Content-Type."""

    body: bytes
    content_type: str


class PrometheusRenderer:
    """The orders, this process and this Python, in a registry of its own. `version` is the server's."""

    def __init__(self, *, instruments: Instruments, version: str) -> None:
        self._orders = _OrderCollector(instruments, version)
        self._registry = CollectorRegistry()
        self._registry.register(self._orders)
        self._registry.register(ProcessCollector())
        PlatformCollector(self._registry)
        GCCollector(self._registry)

    def render(self, snapshot: MetricsSnapshot, preference: AcceptedType) -> RenderedMetrics:
        """All families in the preferred format, which is TEXT or OPEN_METRICS."""
        encode, content_type = choose_encoder(_accept_of(preference))
        self._orders.snapshot = snapshot
        return RenderedMetrics(encode(self._registry), content_type)


def _accept_of(preference: AcceptedType) -> str:
    """An Accept header that leaves `choose_encoder` no choice: it does not weigh, and promises any version."""
    media_type, parameters = preference
    oldest, *_ = known = _VERSIONS[media_type]
    version = parameters.get("version")
    return f"{media_type};version={version if version in known else oldest};{_escaping(parameters)}"


def _escaping(parameters: Mapping[str, str]) -> str:
    return f"escaping={parameters['escaping']}" if "escaping" in parameters else ""


class _OrderCollector(Collector):
    """Set `snapshot` before each collection."""

    snapshot: MetricsSnapshot

    def __init__(self, instruments: Instruments, version: str) -> None:
        self._noted = instruments
        self._version = version

    def collect(self) -> Iterator[Metric]:
        yield from self._gauges()
        yield from self._counters()
        yield from self._histograms()

    def _gauges(self) -> Iterator[Metric]:
        totals = self.snapshot.totals
        yield InfoMetricFamily("orders_build", "Which version of the server this is.", {"version": self._version})
        by_status = GaugeMetricFamily("orders_by_status", "Orders that have each status.", labels=["status"])
        for status, count in (
            (Status.PENDING, totals.pending),
            (Status.PROCESSING, totals.processing),
            (Status.COMPLETED, totals.completed),
            (Status.FAILED, totals.failed),
            (Status.CANCELLED, totals.cancelled),
        ):
            by_status.add_metric([status.value], count)
        yield by_status
        yield GaugeMetricFamily(
            "orders_oldest_pending_seconds",
            "How long ago the oldest Pending order was accepted; 0 where none is Pending.",
            self.snapshot.oldest_pending_s,
            unit="seconds",
        )
        yield GaugeMetricFamily(
            "orders_uptime_seconds", "Since the server started.", self.snapshot.uptime_s, unit="seconds"
        )
        yield SummaryMetricFamily(
            "orders_turnaround_seconds",
            "From acceptance to completion, over all Completed orders that are stored.",
            count_value=totals.completed,
            sum_value=totals.processing_us / _MICROSECONDS,
            unit="seconds",
        )

    def _counters(self) -> Iterator[Metric]:
        noted = self._noted
        intake = CounterMetricFamily("orders_intake", "Orders that came in, by what came of it.", labels=["outcome"])
        for outcome, count in noted.intake.items():
            intake.add_metric([outcome.value], count)
        yield intake
        attempts = CounterMetricFamily("orders_attempts", "Attempts that ended, by how they did.", labels=["outcome"])
        for end, count in noted.attempts.items():
            attempts.add_metric([end.value], count)
        yield attempts
        yield CounterMetricFamily("orders_cancelled", "Orders that were cancelled.", noted.cancelled)
        yield CounterMetricFamily(
            "orders_retried", "Failed orders that somebody asked to have tried again.", noted.retried_by_hand
        )

    def _histograms(self) -> Iterator[Metric]:
        noted = self._noted
        yield _seconds("orders_ack", "From a POST /order to its 202.", noted.ack_s)
        yield _seconds("orders_queue_wait", "From an order's acceptance to its first attempt.", noted.queue_wait_s)
        yield _seconds("orders_processing", "One attempt in the processor.", noted.processing_s)
        yield _seconds("orders_commit", "One batch in the database, its sync to disk included.", noted.commit_s)
        yield _family("orders_commit_size", "New orders in a commit that has any.", noted.commit_orders)


def _seconds(name: str, text: str, histogram: Histogram) -> HistogramMetricFamily:
    return _family(f"{name}_seconds", text, histogram, unit="seconds")


def _family(name: str, text: str, histogram: Histogram, unit: str = "") -> HistogramMetricFamily:
    buckets = [("+Inf" if bound == inf else str(float(bound)), count) for bound, count in histogram.buckets()]
    return HistogramMetricFamily(name, text, buckets, histogram.sum, unit=unit)
