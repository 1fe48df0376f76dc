"""The changes of the totals by a transaction. Used on the thread of the transaction."""

from collections.abc import Iterable

from msgspec import Struct

from models.order import Order, Status


class TotalsChange(Struct):
    """The changes of the totals by a transaction. Each step of the transaction adds its own changes."""

    pending: int = 0
    processing: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    processing_us: int = 0
    archived_completed: int = 0
    archived_cancelled: int = 0
    archived_processing_us: int = 0

    def add_archived(self, orders: Iterable[Order]) -> None:
        """Counts orders that the transaction archives. They are Completed or Cancelled."""
        for order in orders:
            if order.status is Status.COMPLETED and order.processed_us is not None:
                self.archived_completed += 1
                self.archived_processing_us += order.processed_us - order.created_us
            else:
                self.archived_cancelled += 1
