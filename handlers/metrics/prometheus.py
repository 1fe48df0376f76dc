"""Renders the metrics as Prometheus text and as OpenMetrics. Runs on the event loop."""

from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import NamedTuple, Protocol

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

from handlers.metrics.content_negotiation import AcceptedType
from handlers.metrics.histogram import Histogram
from handlers.metrics.instruments import Instruments
from handlers.metrics.process_collector import ProcessCollector
from handlers.metrics.snapshot import MetricsSnapshot
from models.database.health import StorageStatus
from models.database.servers import Server
from models.order import MAX_COUNTED_WAITING, Status

TEXT = "text/plain"
OPEN_METRICS = "application/openmetrics-text"

_VERSIONS = {TEXT: ("0.0.4", "1.0.0"), OPEN_METRICS: ("1.0.0",)}
"""The supported versions of each format. If a client requests an unsupported version, the first version is used."""
_MICROSECONDS = 1_000_000


class LogCounts(Protocol):
    """The counter of the log. `handlers.logs.log_writer.LogWriter` implements this Protocol."""

    dropped_lines: int
    """Lines that were not written because stderr did not take them."""


class RenderedMetrics(NamedTuple):
    """A response body and its Content-Type."""

    body: bytes
    content_type: str


class PrometheusRenderer:
    """Renders the metrics of orders, the log, the process and Python. `version` is the version of the server."""

    def __init__(self, *, instruments: Instruments, log: LogCounts, version: str) -> None:
        self._orders = _OrderCollector(instruments, log, version)
        self._registry = CollectorRegistry()
        self._registry.register(self._orders)
        self._registry.register(ProcessCollector())
        PlatformCollector(self._registry)
        GCCollector(self._registry)

    def render(
        self, snapshot: MetricsSnapshot | None, status: StorageStatus, preference: AcceptedType
    ) -> RenderedMetrics:
        """All metrics, in the format that the client prefers: `preference.media_type` is TEXT or OPEN_METRICS.

        If `snapshot` is None, the metrics of stored orders are left out.
        """
        encode, content_type = choose_encoder(_accept_of(preference))
        self._orders.snapshot, self._orders.status = snapshot, status
        return RenderedMetrics(encode(self._registry), content_type)


def _accept_of(preference: AcceptedType) -> str:
    """An Accept header that names only the preferred format, because `choose_encoder` ignores q-values.

    If the preferred version is not supported, the header has the default version instead.
    """
    media_type, parameters = preference
    default, *_ = supported = _VERSIONS[media_type]
    version = parameters.get("version")
    return f"{media_type};version={version if version in supported else default};{_escaping(parameters)}"


def _escaping(parameters: Mapping[str, str]) -> str:
    return f"escaping={parameters['escaping']}" if "escaping" in parameters else ""


class _OrderCollector(Collector):
    """Collects the metrics of orders. `snapshot` and `status` must be set before each collection."""

    snapshot: MetricsSnapshot | None
    status: StorageStatus

    def __init__(self, instruments: Instruments, log: LogCounts, version: str) -> None:
        self._instruments = instruments
        self._log = log
        self._version = version

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("orders_build", "The version of the server.", {"version": self._version})
        if self.snapshot:
            yield from _orders(self.snapshot)
        yield from self._processing()
        yield from _storage(self.status)
        yield from _servers(self.status.servers)
        yield from self._counters()
        yield from self._histograms()

    def _processing(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "orders_busy_workers",
            "Attempts that are running, without overdue ones.",
            self._instruments.busy_workers,
        )
        yield GaugeMetricFamily(
            "orders_overdue_attempts",
            "Attempts that exceeded --attempt-timeout and still run.",
            self._instruments.overdue_attempts,
        )
        yield GaugeMetricFamily(
            "orders_deliveries_paused",
            "1 while webhook deliveries are paused because the receiver is busy or unreachable, else 0.",
            int(self._instruments.deliveries_paused),
        )

    def _counters(self) -> Iterator[Metric]:
        measured = self._instruments
        intake = CounterMetricFamily("orders_intake", "Orders received, by outcome.", labels=["outcome"])
        for outcome, count in measured.intake.items():
            intake.add_metric([outcome.value], count)
        yield intake
        responses = CounterMetricFamily("orders_http_responses", "HTTP responses, by status.", labels=["status"])
        for code, count in measured.responses.items():
            responses.add_metric([str(code)], count)
        yield responses
        attempts = CounterMetricFamily("orders_attempts", "Ended attempts, by outcome.", labels=["outcome"])
        for end, count in measured.attempts.items():
            attempts.add_metric([end.value], count)
        yield attempts
        pauses = CounterMetricFamily(
            "orders_delivery_pauses", "Pauses of webhook deliveries, by reason.", labels=["reason"]
        )
        for reason, count in measured.delivery_pauses.items():
            pauses.add_metric([reason], count)
        yield pauses
        yield CounterMetricFamily("orders_cancelled", "Orders that were cancelled.", measured.cancelled)
        yield CounterMetricFamily("orders_retried", "Retries that clients requested.", measured.requested_retries)
        yield CounterMetricFamily(
            "orders_log_lines_dropped", "Log lines that stderr did not take.", self._log.dropped_lines
        )

    def _histograms(self) -> Iterator[Metric]:
        measured = self._instruments
        yield _seconds("orders_ack", "Time from a POST /order to its 202.", measured.ack_s)
        yield _seconds("orders_queue_wait", "Time from acceptance to the first attempt.", measured.queue_wait_s)
        yield _seconds("orders_processing", "Duration of an attempt.", measured.processing_s)
        yield _seconds("orders_commit", "Duration of a commit, including its sync to disk.", measured.commit_s)
        yield _family("orders_commit_size", "New orders in each commit that has new orders.", measured.commit_orders)


def _orders(snapshot: MetricsSnapshot) -> Iterator[Metric]:
    totals = snapshot.totals
    by_status = GaugeMetricFamily("orders_by_status", "Orders in each status.", labels=["status"])
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
        "Time since the oldest Pending order that is due was accepted; 0 if none is due.",
        snapshot.oldest_pending_s,
        unit="seconds",
    )
    yield GaugeMetricFamily(
        "orders_waiting_for_retry",
        f"Pending orders that wait for a retry; at most {MAX_COUNTED_WAITING} are counted.",
        totals.waiting,
    )
    yield CounterMetricFamily("orders_archived", "Orders that --keep has deleted.", totals.archived)
    yield GaugeMetricFamily("orders_processing_paused", "1 while processing is paused, else 0.", int(totals.is_paused))
    yield GaugeMetricFamily(
        "orders_uptime_seconds", "Time since the server started.", snapshot.uptime_s, unit="seconds"
    )
    yield SummaryMetricFamily(
        "orders_turnaround_seconds",
        "Time from acceptance to completion, of all stored Completed orders.",
        count_value=totals.completed,
        sum_value=totals.processing_us / _MICROSECONDS,
        unit="seconds",
    )


def _storage(status: StorageStatus) -> Iterator[Metric]:
    up = GaugeMetricFamily(
        "orders_storage_up", "1 while this kind of access to the database succeeds, else 0.", labels=["work"]
    )
    for work, is_up in status.up.items():
        up.add_metric([work.value], is_up)
    yield up
    text = "Errors of the database, by SQLite's name of the error."
    errors = CounterMetricFamily("orders_storage_errors", text, labels=["code"])
    for code, count in status.errors.items():
        errors.add_metric([code], count)
    yield errors
    for name, text, size in (
        ("orders_database_bytes", "The size of the database file.", status.database_bytes),
        ("orders_wal_bytes", "The size of the write-ahead log.", status.wal_bytes),
        ("orders_free_disk_bytes", "The free space on the disk of the database.", status.free_bytes),
    ):
        if size is not None:
            yield GaugeMetricFamily(name, text, size, unit="bytes")


def _servers(servers: Sequence[Server]) -> Iterator[Metric]:
    if not servers:
        return
    yield GaugeMetricFamily(
        "orders_servers",
        "Servers that use the database and have renewed their lease in time.",
        sum(server.is_alive for server in servers),
    )
    labels = ["server", "number"]
    processing = GaugeMetricFamily(
        "orders_server_processing_orders", "Orders that each server is processing.", labels=labels
    )
    age = GaugeMetricFamily(
        "orders_server_lease_age_seconds",
        "Time since each server renewed its lease.",
        labels=labels,
        unit="seconds",
    )
    start = GaugeMetricFamily(
        "orders_server_start_time_seconds", "When each server got its number.", labels=labels, unit="seconds"
    )
    for server in servers:
        values = [server.name, str(server.number)]
        processing.add_metric(values, server.processing)
        age.add_metric(values, server.lease_age_s)
        start.add_metric(values, server.started_us / _MICROSECONDS)
    yield from (processing, age, start)


def _seconds(name: str, text: str, histogram: Histogram) -> HistogramMetricFamily:
    return _family(f"{name}_seconds", text, histogram, unit="seconds")


def _family(name: str, text: str, histogram: Histogram, unit: str = "") -> HistogramMetricFamily:
    buckets = [("+Inf" if bound == inf else str(float(bound)), count) for bound, count in histogram.buckets()]
    return HistogramMetricFamily(name, text, buckets, histogram.sum, unit=unit)
