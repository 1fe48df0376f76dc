"""Updates the metrics and the event streams when the order service reports its work.

Runs on the event loop, except for `commit_ended`: see `workers.observer.ServiceObserver`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from handlers.metrics.history import History
from handlers.metrics.instruments import Instruments
from handlers.metrics.prometheus import LogCounts, PrometheusRenderer
from handlers.metrics.rates import Rates
from handlers.metrics.snapshot import SnapshotSource
from handlers.sse.metric_events import MetricEventStreams
from handlers.sse.order_events import OrderEventStreams
from models.changes.feed import FeedRead
from models.changes.order_changes import OrderChange
from models.clock import Clock
from models.database.health import StorageStatus
from models.measurements import Measurement
from models.order import Totals
from models.writes.result import WriteResult
from models.writes.write import AnyWrite


class TelemetryLimits(NamedTuple):
    """Limits on event streams."""

    max_events: int = 50_000
    """How many of the last changes of orders stay in memory, for readers that reconnect or are slow."""
    max_event_readers: int = 10_000
    max_metrics_readers: int = 500
    """Lower than `max_event_readers`, because each reader of metrics gets an event every second."""


class Telemetry:
    """Implements `ServiceObserver`. Creates the metrics and the event streams, and updates them.

    `run` (hexadecimal digits) distinguishes the event ids and the measurements of this process from those of others.
    `has_feed` means that the changes of orders come from a feed, which also determines the event ids. `monotonic`
    returns seconds.
    """

    def __init__(
        self,
        *,
        version: str,
        run: str,
        log: LogCounts,
        clock: Clock,
        has_feed: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
        rates: Rates | None = None,
        limits: TelemetryLimits = TelemetryLimits(),  # noqa: B008 - it is immutable
    ) -> None:
        self.instruments = Instruments(clock=clock)
        self.prometheus = PrometheusRenderer(instruments=self.instruments, log=log, version=version)
        self.rates = rates or Rates(clock=monotonic)
        self.snapshots = SnapshotSource(
            rates=self.rates, instruments=self.instruments, clock=clock, monotonic=monotonic
        )
        self.order_events = OrderEventStreams(
            run=run,
            has_feed=has_feed,
            max_events=limits.max_events,
            clock=monotonic,
            max_readers=limits.max_event_readers,
        )
        self.history = History(instruments=self.instruments, clock=clock, monotonic=monotonic, process=run)
        self.metric_events = MetricEventStreams(
            snapshots=self.snapshots, history=self.history, clock=monotonic, max_readers=limits.max_metrics_readers
        )

    def close(self) -> None:
        """Closes every event stream. Safe to call twice."""
        self.order_events.close()
        self.metric_events.close()

    @property
    def wants_changes(self) -> bool:
        return self.order_events.wants_changes

    def batch_written(self, batch: Sequence[AnyWrite], results: Sequence[WriteResult | BaseException]) -> None:
        self.instruments.count_batch(batch, results)

    def orders_changed(self, changes: Sequence[OrderChange]) -> None:
        self.order_events.publish(changes)

    def feed_read(self, read: FeedRead) -> None:
        self.order_events.publish_feed(read)

    def second_passed(self) -> None:
        self.order_events.check_readers()
        self.metric_events.check_readers()

    def attempts_counted(self, *, in_time: int, overdue: int) -> None:
        self.instruments.busy_workers = in_time
        self.instruments.overdue_attempts = overdue

    def storage_checked(self, status: StorageStatus, totals: Totals | None) -> None:
        if totals:
            self.rates.sample(totals)
        self.metric_events.publish(totals, status)

    def unsaved_measurements(self) -> Sequence[Measurement]:
        return self.history.unsaved()

    def measurements_saved(self, saved: Sequence[Measurement]) -> None:
        self.history.note_saved(saved)

    def measurements_read(self, stored: Sequence[Measurement]) -> None:
        self.history.merge(stored)

    def deliveries_read(self, *, is_paused: bool, pauses: Mapping[str, int]) -> None:
        self.instruments.deliveries_paused = is_paused
        self.instruments.delivery_pauses = pauses

    def commit_ended(self, duration_s: float) -> None:
        self.instruments.commit_s.observe(duration_s)

    def attempts_ended(self, duration_s: float, orders: int) -> None:
        self.instruments.processing_s.observe(duration_s, orders)
