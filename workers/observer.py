"""The interface through which the service reports its work, for metrics and event streams."""

from collections.abc import Sequence
from typing import Protocol

from models.changes import OrderChange
from models.order import Totals
from models.writes import AnyWrite, WriteResult


class ServiceObserver(Protocol):
    """Called on the event loop unless a method says otherwise. Must return at once and raise nothing."""

    @property
    def wants_changes(self) -> bool:
        """Whether `orders_changed` is to be called."""

    def batch_written(self, batch: Sequence[AnyWrite], results: Sequence[WriteResult | BaseException]) -> None:
        """A batch has been committed or has failed. There is a result for each write, in order."""

    def orders_changed(self, changes: Sequence[OrderChange]) -> None:
        """Orders have new statuses, in the order in which the changes took effect."""

    def second_passed(self) -> None:
        """Called about once a second."""

    def totals_read(self, totals: Totals, *, is_writable: bool) -> None:
        """Called about once a second while the store can be read. `is_writable` is `Store.is_writable`."""

    def commit_ended(self, duration_s: float) -> None:
        """A batch took this long in the store, whether it was committed or failed. On the writer's thread."""

    def attempts_ended(self, duration_s: float, orders: int) -> None:
        """A call of the processor took this long for so many orders. On worker threads, one call at a time."""
