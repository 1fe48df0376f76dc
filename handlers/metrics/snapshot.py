"""The current metrics: totals, rates, uptime and storage, and their JSON for `GET /metrics`. Runs on the event loop."""

from collections.abc import Callable
from typing import NamedTuple

from msgspec import UNSET, Struct, UnsetType

from handlers.metrics.instruments import Instruments
from handlers.metrics.rates import Rate, Rates
from models.database.health import StorageStatus, Work
from models.database.servers import Server
from models.order import Totals, time_as_texts

_MICROSECONDS = 1_000_000


class StorageView(Struct):
    """The state of the storage. A size is null if it can't be determined."""

    is_writable: bool
    is_readable: bool
    errors: dict[str, int]
    database_bytes: int | None
    wal_bytes: int | None
    free_disk_bytes: int | None


class ServerView(Struct):
    """One of the servers that share the database. `is_this` is true for the server that responds."""

    number: int
    name: str
    started_at: str
    lease_age_seconds: float
    is_alive: bool
    processing_orders: int
    is_this: bool


class MetricsView(Struct):
    """Counts of orders by status; times in seconds, rates in orders per second over the last minute.

    `paused` says whether processing is paused, `deliveries_paused` whether webhooks are paused because the receiver is
    busy or unreachable. `archived_orders` are also part of the other counts. `servers` is left out if no other server
    can use the database.
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
    deliveries_paused: bool
    storage: StorageView
    archived_orders: int
    servers: list[ServerView] | UnsetType = UNSET


def server_view(server: Server) -> ServerView:
    """An element of `servers` of `GET /metrics`."""
    return ServerView(
        server.number,
        server.name,
        time_as_texts(server.started_us)[1],
        round(server.lease_age_s, 3),
        server.is_alive,
        server.processing,
        server.is_this,
    )


def storage_view(status: StorageStatus) -> StorageView:
    """The JSON object `storage` of `GET /metrics`."""
    return StorageView(
        is_writable=status.up[Work.WRITES],
        is_readable=status.up[Work.READS],
        errors=status.errors,
        database_bytes=status.database_bytes,
        wal_bytes=status.wal_bytes,
        free_disk_bytes=status.free_bytes,
    )


class MetricsSnapshot(NamedTuple):
    """The metrics at one time. Ages and uptime are in seconds."""

    totals: Totals
    oldest_pending_s: float
    uptime_s: float
    rate: Rate
    deliveries_paused: bool

    def as_view(self, status: StorageStatus) -> MetricsView:
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
            deliveries_paused=self.deliveries_paused,
            storage=storage_view(status),
            archived_orders=totals.archived,
            servers=[server_view(server) for server in status.servers] or UNSET,
        )


class SnapshotSource:
    """Makes snapshots. `clock` returns microseconds (steady time, see `models/clock.py`), `monotonic` seconds.

    Uptime counts from the construction of this object.
    """

    def __init__(
        self, *, rates: Rates, instruments: Instruments, clock: Callable[[], int], monotonic: Callable[[], float]
    ) -> None:
        self._rates = rates
        self._instruments = instruments
        self._clock = clock
        self._monotonic = monotonic
        self._started_s = monotonic()

    def take(self, totals: Totals) -> MetricsSnapshot:
        """The current metrics. `totals` must be the current totals."""
        oldest_us = totals.oldest_pending_us
        oldest_s = 0.0 if oldest_us is None else max(0, self._clock() - oldest_us) / _MICROSECONDS
        return MetricsSnapshot(
            totals,
            oldest_s,
            self._monotonic() - self._started_s,
            self._rates.up_to(totals),
            self._instruments.deliveries_paused,
        )
