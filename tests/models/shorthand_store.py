"""A store for tests, with a method for each kind of write."""

from collections.abc import Callable, Sequence
from typing import Any, cast

from models.changes.feed import Feed
from models.database.health import StorageStatus, Work
from models.errors import OrderConflictError, WrongStatusError
from models.listing import HIGHEST, Listing, Page
from models.measurements import Measurement
from models.order import Attempt, AttemptRecord, Ending, Order, Status, Totals
from models.store import Store
from models.transactions.archiving import ExpiredOrders, archive_orders
from models.writes.archiving import ArchiveOrders
from models.writes.attempts import ClaimedOrders, FinishAndClaim, Outcome
from models.writes.commands import Cancel, Erase, RetriedOrders, Retry, RetryOrders, RetrySelection, StatusChanged
from models.writes.insertion import Insertion, NewOrder
from models.writes.result import WriteResult
from models.writes.write import AnyWrite
from tests.process import wait_until


def retry_at_once(attempt: Attempt) -> Outcome:
    """The outcome of an interrupted attempt: the order is retried without a delay."""
    return Outcome(attempt.sequence, attempt.claim, Status.PENDING, "interrupted", due_us=0)


class ShorthandStore:
    """A Store that wraps another Store, of any engine. Each additional method makes one call to that Store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    # The methods of a Store

    @property
    def is_paused(self) -> bool:
        return self._store.is_paused

    @property
    def living_servers(self) -> int:
        return self._store.living_servers

    @property
    def resumes(self) -> int | None:
        return self._store.resumes

    @property
    def feed(self) -> Feed | None:
        return self._store.feed

    def is_up(self, work: Work) -> bool:
        return self._store.is_up(work)

    def connect(self) -> None:
        self._store.connect()

    def disconnect(self) -> None:
        self._store.disconnect()

    def recover(
        self, outcome_of: Callable[[Attempt], Outcome] = retry_at_once, *, longest_delay_us: int = HIGHEST
    ) -> int:
        return self._store.recover(outcome_of, longest_delay_us=longest_delay_us)

    def tend(self) -> bool:
        return self._store.tend()

    def write(self, batch: Sequence[AnyWrite], *, max_pending: int | None = None) -> list[WriteResult]:
        if any(isinstance(write, ArchiveOrders) for write in batch):
            wait_until(self._store.may_archive)
        return self._store.write(batch, max_pending=max_pending)

    def find_expired(self, *, ended_before_us: int = HIGHEST, after: int = 0, limit: int = 1_000) -> ExpiredOrders:
        return self._store.find_expired(ended_before_us=ended_before_us, after=after, limit=limit)

    def last_member(self, archive: int) -> int | None:
        return self._store.last_member(archive)

    def may_archive(self) -> bool:
        return self._store.may_archive()

    def scrub(self) -> bool:
        return self._store.scrub()

    def find(self, order_ids: Sequence[int]) -> list[Any]:
        return self._store.find(order_ids)

    def list_orders(self, listing: Listing) -> Page:
        return self._store.list_orders(listing)

    def history(self, order_id: int) -> list[AttemptRecord] | None:
        return self._store.history(order_id)

    def totals(self) -> Totals:
        return self._store.totals()

    def save_measurements(self, measurements: Sequence[Measurement], *, now_s: int) -> None:
        self._store.save_measurements(measurements, now_s=now_s)

    def measurements(self, *, since_s: int = 0) -> list[Measurement]:
        return self._store.measurements(since_s=since_s)

    def probe(self, work: Work) -> None:
        self._store.probe(work)

    def status(self) -> StorageStatus:
        return self._store.status()

    def close_in_child(self) -> None:
        self._store.close_in_child()

    def maintain(self) -> None:
        self._store.maintain()

    def close(self) -> None:
        self._store.close()

    # Shorthand

    def find_one(self, order_id: int) -> Order:
        """The order, which must exist."""
        [order] = self.find([order_id])
        assert isinstance(order, Order)
        return order

    def insert(self, *orders: NewOrder) -> list[Insertion | int]:
        """A result for each order. The result of a conflict is the id of the order."""
        return [
            result.order_id if isinstance(result, OrderConflictError) else cast(Insertion, result)
            for result in self.write(orders)
        ]

    def finish_and_claim(self, outcomes: Sequence[Outcome], limit: int) -> ClaimedOrders:
        return cast(list[ClaimedOrders], self.write([FinishAndClaim(outcomes, limit)]))[0]

    def claim(self, limit: int = 1_000) -> list[Order]:
        return list(self.finish_and_claim([], limit).orders)

    def insert_and_claim(self, order: NewOrder) -> Order:
        """Claims the new order in the commit that stores it."""
        _, claimed = self.write([order, FinishAndClaim([], 1)])
        return cast(ClaimedOrders, claimed).orders[0]

    def finish(self, *outcomes: Outcome) -> None:
        assert self.finish_and_claim(outcomes, 0).orders == []

    def finish_attempt(
        self,
        order: Order,
        status: Status,
        error: str | None = None,
        *,
        due_us: int | None = None,
        ending: Ending | None = None,
    ) -> None:
        """Ends the attempt that began when `order` was claimed."""
        self.finish(Outcome(order.sequence, order.claims, status, error, due_us, ending))

    def cancel(self, *order_ids: int) -> list[Order | WrongStatusError | None]:
        return [_order_of(result) for result in self.write([Cancel(each) for each in order_ids])]

    def retry(self, *order_ids: int) -> list[Order | WrongStatusError | None]:
        return [_order_of(result) for result in self.write([Retry(each) for each in order_ids])]

    def retry_selected(self, selection: RetrySelection, limit: int = 1_000) -> RetriedOrders:
        return cast(list[RetriedOrders], self.write([RetryOrders(selection, limit)]))[0]

    def archive(self, *orders: Order) -> bool:
        return cast(list[bool], self.write([archive_orders(orders)]))[0]

    def erase(self, *order_ids: int) -> list[Any]:
        return list(self.write([Erase(each) for each in order_ids]))


def _order_of(result: WriteResult) -> Order | WrongStatusError | None:
    return result.order if isinstance(result, StatusChanged) else cast(WrongStatusError | None, result)
