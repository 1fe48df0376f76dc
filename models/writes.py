"""The store's write requests and their results. Immutable values; usable on any thread."""

import enum
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

from msgspec import Struct, structs

from models.errors import BacklogFullError, OrderConflictError, StorageError
from models.order import Ending, Order, Status

R = TypeVar("R")
R_contra = TypeVar("R_contra", contravariant=True)


class Waiter(Protocol[R_contra]):
    """Receives the result of a read or write, on the event loop. An asyncio.Future is one."""

    def cancelled(self) -> bool:
        """Whether the result is no longer needed. If so, the other methods are not called."""

    def set_result(self, result: R_contra, /) -> None:
        """Called at most once, with the result."""

    def set_exception(self, exception: BaseException, /) -> None:
        """Called at most once, instead of `set_result`."""


class Write(Struct, Generic[R], frozen=True, gc=False):
    """A write request to the store. Its result has the type R, or is an exception that is raised to the caller."""


class Insertion(enum.Enum):
    """The result for a new order: stored now, or stored earlier."""

    ACCEPTED = "accepted"
    REPLAYED = "replayed"


InsertResult = Insertion | OrderConflictError | BacklogFullError | StorageError
"""The result for one new order. A StorageError means that this order could not be stored, and others could."""


class NewOrder(Write[Insertion], frozen=True, gc=False):
    """Insert this valid order.

    The result is an OrderConflictError if a different order with this id is stored, and a BacklogFullError if the order
    is new and too many orders are Pending.

    `total_amount` is in ten-thousandths; `metadata` is the text of a JSON object, exactly as it was sent.
    `trace_headers` is stored with a new order, and ignored if the order is already stored.
    """

    order_id: int
    user_id: int
    item_ids: list[int]
    total_amount: int
    metadata: str | None = None
    trace_headers: str | None = None


class NewOrders(Write[list[InsertResult]], frozen=True, gc=False):
    """Insert these orders in one transaction. Each order is accepted or rejected independently."""

    orders: list[NewOrder]


class Outcome(Struct, frozen=True, gc=False):
    """How one attempt at an order ended.

    Completed (without an error) and Failed are final. Pending with `due_us` schedules a retry at that steady time
    (`models/clock.py`); the attempt counts towards `--max-attempts` if `counts` is true. Pending without `due_us` makes
    the order ready at once, as if it had not been claimed; the attempt does not count.

    `ending` is stored in the history of the order. If `ending` is None, the history does not contain the attempt,
    unless the attempt completed the order.
    """

    sequence: int
    claim: int
    status: Status
    error: str | None = None
    due_us: int | None = None
    ending: Ending | None = None
    counts: bool = True

    def with_storable_error(self) -> "Outcome":
        """The same outcome with an error text that every database can store: valid Unicode without NUL."""
        if self.error is None:
            return self
        text = self.error.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
        return structs.replace(self, error=text)


class ClaimedOrders(Struct, frozen=True, gc=False):
    """The orders that a write claimed, that is, made Processing.

    `next_due_us` is the steady time at which the next retry is due, or at which the store tries again to claim a
    damaged order. It is None if there is no such order, if the limit was 0, or while processing is paused.
    """

    orders: list[Order]
    next_due_us: int | None = None


class FinishAndClaim(Write[ClaimedOrders], frozen=True, gc=False):
    """Record the outcomes of attempts, then claim up to `limit` orders.

    `attempted[i]` is the order of `outcomes[i]`, as it was when claimed.
    """

    outcomes: Sequence[Outcome]
    limit: int
    attempted: Sequence[Order] = ()


class StatusChanged(Struct, frozen=True, gc=False):
    """The order after a cancel or a retry, and its previous status."""

    order: Order
    previous_status: Status


class Cancel(Write[StatusChanged | None], frozen=True, gc=False):
    """Cancel this order. The result is None if the order does not exist.

    The result is a WrongStatusError if the order is neither Pending nor Cancelled.
    """

    order_id: int


class Retry(Write[StatusChanged | None], frozen=True, gc=False):
    """Make a Failed order Pending, with 0 attempts, or an order that waits for a retry ready now.

    The result is a WrongStatusError if the order is neither of these, and None if the order does not exist.
    """

    order_id: int


class OrderIds(Struct, frozen=True, gc=False):
    """The sequence and the id of an order, and the id of its user."""

    sequence: int
    order_id: int
    user_id: int


class RetrySelection(Struct, frozen=True, gc=False, kw_only=True):
    """Selects orders to retry: Failed orders if `status` is Failed, orders that wait for a retry if it is Pending.

    Selects only orders whose error contains `error`, if not None, that were accepted from `created_from_us` to before
    `created_until_us` (microseconds since 1970, UTC), and whose sequence is above `after` and at most `last`. If `last`
    is None, the newest order is the last one.
    """

    status: Status
    error: str | None = None
    created_from_us: int | None = None
    created_until_us: int | None = None
    after: int = 0
    last: int | None = None


class RetriedOrders(Struct, frozen=True, gc=False):
    """The orders that were retried. `rest` selects the orders that remain to be examined; None if none remain."""

    orders: list[OrderIds]
    rest: RetrySelection | None


class RetryOrders(Write[RetriedOrders], frozen=True, gc=False):
    """Retry the selected orders like `Retry`, oldest first. Examines up to `limit` orders with the selected status."""

    selection: RetrySelection
    limit: int


class SetPaused(Write[bool], frozen=True, gc=False):
    """Pause or resume the claiming of orders. The result is whether this changed anything."""

    is_paused: bool


AnyWrite = Write[Any]
WriteResult = Insertion | list[InsertResult] | ClaimedOrders | StatusChanged | RetriedOrders | bool | Exception | None
"""The result of any write. An exception is raised to the caller of that write alone."""
