"""Functions of both engines for the commands of clients: cancels and retries of orders. Pure functions."""

from msgspec import structs

from models.errors import WrongStatusError
from models.order import ERASED_USER, Order, Status
from models.writes.commands import RetrySelection

CAN_BE_RETRIED = "Failed or waiting for a retry"
"""The statuses of orders for which `can_be_retried` is true, as a WrongStatusError names them."""


CAN_BE_ERASED = "Completed, Failed or Cancelled"
"""The statuses of orders that can be erased."""


def can_be_retried(order: Order) -> bool:
    """Whether a client can retry the order: it is Failed and not erased, or it waits for a retry."""
    if order.status is Status.FAILED:
        return order.user_id != ERASED_USER
    return order.status is Status.PENDING and order.due_us is not None


def wrong_status(order: Order | None, *, needed: str) -> WrongStatusError | None:
    """The result of a command that the order's status does not allow; None if the order does not exist."""
    if order is None:
        return None
    return WrongStatusError(order.order_id, status=order.status, needed=needed, is_erased=order.user_id == ERASED_USER)


def rest_of(
    selection: RetrySelection, *, is_whole: bool, last_examined: int | None, newest: int | None
) -> RetrySelection | None:
    """Selects the orders that a retry of this selection has not examined; None if it has examined all (`is_whole`).

    `last_examined` is the highest sequence that was examined, and `newest` the highest sequence of all.
    """
    if is_whole or last_examined is None:
        return None
    # The next call examines neither the orders that this call has examined nor orders that are stored after this call.
    # So a client that repeats the call comes to an end, even if orders fail again.
    return structs.replace(selection, after=last_examined, last=newest if selection.last is None else selection.last)
