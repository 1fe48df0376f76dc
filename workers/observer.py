"""The interface through which the service reports its work, for metrics and event streams."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from models.changes.feed import FeedRead
from models.changes.order_changes import OrderChange
from models.database.health import StorageStatus
from models.measurements import Measurement
from models.order import Totals
from models.writes.result import WriteResult
from models.writes.write import AnyWrite


class ServiceObserver(Protocol):
    """Methods are called on the event loop unless their docstrings say otherwise, and must not block or raise."""

    @property
    def wants_changes(self) -> bool:
        """Whether the observer needs calls of `orders_changed` or `feed_read`."""

    def batch_written(self, batch: Sequence[AnyWrite], results: Sequence[WriteResult | BaseException]) -> None:
        """Called after a batch has been committed or has failed, with a result for each write, in order."""

    def orders_changed(self, changes: Sequence[OrderChange]) -> None:
        """Called with the new statuses of orders, in the order in which the changes took effect.

        Not called if the store has a feed.
        """

    def feed_read(self, read: FeedRead) -> None:
        """Called with each part of the store's feed, which has the changes of all servers, including this server."""

    def second_passed(self) -> None:
        """Called about once a second."""

    def attempts_counted(self, *, in_time: int, overdue: int) -> None:
        """Called about once a second with the numbers of running attempts: see `AttemptRunner`."""

    def storage_checked(self, status: StorageStatus, totals: Totals | None) -> None:
        """Called about once a second. `totals` is None if the totals can't be read."""

    def unsaved_measurements(self) -> Sequence[Measurement]:
        """What this process has measured since `measurements_saved` was last called with it."""

    def measurements_saved(self, saved: Sequence[Measurement]) -> None:
        """Called when these results of `unsaved_measurements` have been saved."""

    def measurements_read(self, stored: Sequence[Measurement]) -> None:
        """Called at the start with all saved measurements, and about once a minute with those of the last minutes.

        Both contain measurements of all servers.
        """

    def deliveries_read(self, *, is_paused: bool, pauses: Mapping[str, int]) -> None:
        """Called about once a second if the processor delivers orders. `pauses` counts the pauses by reason."""

    def commit_ended(self, duration_s: float) -> None:
        """Called on the writer thread after each batch. The store took `duration_s` to commit the batch, or to fail."""

    def attempts_ended(self, duration_s: float, orders: int) -> None:
        """Called after attempts at `orders` orders have ended. Each attempt took `duration_s` seconds."""
