"""What the server tells the world about its work: metrics and event streams. Runs on the event loop.

Implements `workers.observer.ServiceObserver`, through which the order service reports.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from handlers.metrics.history import History
from handlers.metrics.instruments import Instruments
from handlers.metrics.prometheus import PrometheusRenderer
from handlers.metrics.rates import Rates
from handlers.metrics.snapshot import SnapshotSource
from handlers.sse.event_log import EventLog
from handlers.sse.metric_events import MetricEventStreams
from handlers.sse.order_events import OrderEventStreams
from models.changes import OrderChange
from models.order import Totals
from models.writes import AnyWrite, WriteResult


class TelemetryLimits(NamedTuple):
    """How much event streams may hold."""

    max_events: int = 50_000
    """How many of the last changes are kept for readers that reconnect or are slow, once there has been a reader."""
    max_event_readers: int = 10_000
    max_metrics_readers: int = 500
    """Each of them is written to each second."""


class Telemetry:
    """The instruments, and everything that is made from them.

    `run` distinguishes the event ids of this process from those of others, in hexadecimal digits. `clock` returns
    microseconds since 1970, UTC; `monotonic` returns seconds.
    """

    def __init__(
        self,
        *,
        version: str,
        run: str,
        clock: Callable[[], int],
        monotonic: Callable[[], float] = time.monotonic,
        rates: Rates | None = None,
        limits: TelemetryLimits = TelemetryLimits(),  # noqa: B008 - it is immutable
    ) -> None:
        self.instruments = Instruments(clock=clock)
        self.prometheus = PrometheusRenderer(instruments=self.instruments, version=version)
        self.rates = rates or Rates(clock=monotonic)
        self.snapshots = SnapshotSource(rates=self.rates, clock=clock, monotonic=monotonic)
        self.order_events = OrderEventStreams(
            log=EventLog(run=run, max_events=limits.max_events), clock=monotonic, max_readers=limits.max_event_readers
        )
        self.metric_events = MetricEventStreams(
            snapshots=self.snapshots,
            history=History(instruments=self.instruments, clock=clock, monotonic=monotonic),
            clock=monotonic,
            max_readers=limits.max_metrics_readers,
        )

    def close(self) -> None:
        """Ends every event stream. May be called twice."""
        self.order_events.close()
        self.metric_events.close()

    @property
    def wants_changes(self) -> bool:
        return bool(self.order_events)

    def batch_written(self, batch: Sequence[AnyWrite], results: Sequence[WriteResult | BaseException]) -> None:
        self.instruments.note_batch(batch, results)

    def orders_changed(self, changes: Sequence[OrderChange]) -> None:
        self.order_events.publish(changes)

    def second_passed(self) -> None:
        self.order_events.beat()
        self.metric_events.beat()

    def totals_read(self, totals: Totals, *, is_writable: bool) -> None:
        self.rates.sample(totals)
        self.metric_events.tell(totals, is_writable=is_writable)

    def commit_ended(self, duration_s: float) -> None:
        self.instruments.commit_s.observe(duration_s)

    def attempts_ended(self, duration_s: float, orders: int) -> None:
        self.instruments.processing_s.observe(duration_s, orders)
