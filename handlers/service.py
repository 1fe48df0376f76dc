"""The interface of the order service. `workers.service.OrderService` implements it and documents the errors."""

from asyncio import Future
from typing import Protocol

from models.listing import Listing, Page
from models.order import Order, Totals
from models.writes import Insertion, InsertResult, NewOrder, RetriedOrders, StatusChanged, Waiter


class Service(Protocol):
    """Stores, finds and processes orders. On the event loop."""

    def insert(self, order: NewOrder, /) -> Future[Insertion]:
        """Stores the order. The future ends when it is on disk."""

    def insert_for(self, order: NewOrder, waiter: Waiter[Insertion], /) -> None:
        """As `insert`, but the result goes to `waiter`. If it raises, the waiter is not called."""

    async def insert_many(self, orders: list[NewOrder], /) -> list[InsertResult]:
        """Stores the orders in one commit. Each is accepted or rejected independently."""

    def find(self, order_id: int, /) -> Future[Order | None]:
        """The order as it is now; None if there is none."""

    def find_for(self, order_id: int, waiter: Waiter[Order | None], /) -> None:
        """As `find`, but the result goes to `waiter`. If it raises, the waiter is not called."""

    async def find_when_ended(self, order_id: int, timeout_s: float, /) -> Order | None:
        """The order once it is Completed, Failed or Cancelled, or as it is after `timeout_s`; None if there is none."""

    async def wait_for_end(
        self, insertion: Future[Insertion], order_id: int, timeout_s: float, /
    ) -> tuple[Insertion, Order | None]:
        """The result of an `insert`, and the order if it ends within `timeout_s` after it is stored, else None."""

    def list_orders(self, listing: Listing, /) -> Future[Page]:
        """A page of orders, newest first. Cancelling the future withdraws a listing that has not begun."""

    def cancel(self, order_id: int, /) -> Future[StatusChanged | None]:
        """Cancels a Pending order; None if there is no such order."""

    def retry(self, order_id: int, /) -> Future[StatusChanged | None]:
        """Makes a Failed order Pending; None if there is no such order."""

    async def retry_failed(self, after: int, /) -> RetriedOrders:
        """Makes the next Failed orders Pending, beginning after the sequence `after`."""

    def totals(self) -> Future[Totals]:
        """The totals as of the last commit."""

    async def check_storage(self) -> None:
        """Raises a storage error if the last write failed and a test write fails, too."""
