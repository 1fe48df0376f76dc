"""The writes of the commands of clients, and their results: cancels, retries, erasures and pauses.

Immutable values; usable on any thread.
"""

from msgspec import Struct

from models.order import Order, Status
from models.writes.write import Write


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
    """Make a Failed order Pending, with 0 attempts. If the order waits for a retry, make it ready now.

    The result is a WrongStatusError if the order neither is Failed nor waits for a retry, and None if the order does
    not exist.
    """

    order_id: int


class Erase(Write[Order | None], frozen=True, gc=False):
    """Delete the personal data of an order: its user, metadata and trace headers, and all errors.

    The result is the order as it is then; None if it does not exist. The user becomes `ERASED_USER`. The result is a
    WrongStatusError if the order is Pending or Processing.
    """

    order_id: int


class OrderIds(Struct, frozen=True, gc=False):
    """The sequence and the id of an order, and the id of its user."""

    sequence: int
    order_id: int
    user_id: int


class RetrySelection(Struct, frozen=True, gc=False, kw_only=True):
    """Selects orders to retry: Failed orders if `status` is Failed, orders that wait for a retry if it is Pending.

    The other fields are filters: the error of the order contains `error`; the order was accepted at or after
    `created_from_us` and before `created_until_us` (microseconds since 1970, UTC); its sequence is above `after` and at
    most `last`. A filter that is None matches every order.
    """

    status: Status
    error: str | None = None
    created_from_us: int | None = None
    created_until_us: int | None = None
    after: int = 0
    last: int | None = None


class RetriedOrders(Struct, frozen=True, gc=False):
    """The orders that were retried. `rest` selects the orders that remain to be examined; None if no order remains."""

    orders: list[OrderIds]
    rest: RetrySelection | None


class RetryOrders(Write[RetriedOrders], frozen=True, gc=False):
    """Retry the selected orders as `Retry` does, oldest first.

    Examines up to `limit` orders with the selected status.
    """

    selection: RetrySelection
    limit: int


class SetPaused(Write[bool], frozen=True, gc=False):
    """Pause or resume the claiming of orders. The result is whether this changed anything."""

    is_paused: bool
