"""The interface of the order service. `workers.service.OrderService` implements it and documents its errors."""

from asyncio import Future
from collections.abc import Sequence
from typing import Protocol

from models.database.health import StorageStatus
from models.listing import Listing, Page
from models.order import AttemptRecord, Order, Totals
from models.writes.commands import RetriedOrders, RetrySelection, StatusChanged
from models.writes.insertion import Insertion, InsertResult, NewOrder
from models.writes.waiter import Waiter


class Service(Protocol):
    """Stores, finds and processes orders. All methods are called on the event loop."""

    def insert(self, order: NewOrder, /) -> Future[Insertion]:
        """Stores the order. The future is done when the order is on disk."""

    def insert_for(self, order: NewOrder, waiter: Waiter[Insertion], /) -> None:
        """Like `insert`, but passes the result to `waiter`. If this method raises, `waiter` is not called."""

    async def insert_many(self, orders: Sequence[NewOrder], /) -> list[InsertResult]:
        """Stores the orders in one commit. Returns a result for each: they are accepted or rejected independently."""

    def find(self, order_id: int, /) -> Future[Order | None]:
        """The current state of the order; None if there is no such order."""

    def find_for(self, order_id: int, waiter: Waiter[Order | None], /) -> None:
        """Like `find`, but passes the result to `waiter`. If this method raises, `waiter` is not called."""

    async def find_when_ended(self, order_id: int, timeout_s: float, /) -> Order | None:
        """Like `find`, but waits up to `timeout_s` seconds until the order is Completed, Failed or Cancelled."""

    async def wait_for_end(
        self, insertion: Future[Insertion], order_id: int, timeout_s: float, /
    ) -> tuple[Insertion, Order | None]:
        """The result of `insertion`, and the order, or None if the order is not Completed, Failed or Cancelled in time.

        `insertion` is the future that `insert` returned. The time of `timeout_s` seconds begins when the order is
        stored.
        """

    def list_orders(self, listing: Listing, /) -> Future[Page]:
        """A page of orders, newest first. Cancelling the future cancels the query if it has not started."""

    def history(self, order_id: int, /) -> Future[list[AttemptRecord] | None]:
        """The attempts to process the order, oldest first; None if there is no such order."""

    def cancel(self, order_id: int, /) -> Future[StatusChanged | None]:
        """Cancels a Pending order. The result is None if there is no order with this id."""

    def retry(self, order_id: int, /) -> Future[StatusChanged | None]:
        """Makes a Failed order Pending. If the order waits for a retry, ends the wait.

        The result is None if there is no order with this id.
        """

    async def erase(self, order_id: int, /) -> Order | None:
        """Removes the personal data of an ended order from the database. None if there is no order with this id."""

    async def retry_selected(self, selection: RetrySelection, /) -> RetriedOrders:
        """Retries some of the selected orders, oldest first. `rest` of the result selects the orders that remain."""

    async def set_paused(self, is_paused: bool, /) -> bool:
        """Pauses processing, or resumes processing and webhook deliveries. Returns whether this changed anything."""

    @property
    def is_paused(self) -> bool:
        """Whether processing is paused."""

    def totals(self) -> Future[Totals]:
        """The totals as of the last commit."""

    def storage_status(self) -> Future[StorageStatus]:
        """Whether reads and writes of the database succeed, counts of errors, and sizes of files."""

    async def check_storage(self) -> None:
        """If reads or writes have failed, tests them again. Raises a StorageError if such a test fails."""
