"""What can go wrong with an order, its storage or the queue before it: one class for each decision of a caller's."""

from collections.abc import Sequence
from typing import NamedTuple


class FieldError(NamedTuple):
    """One thing wrong with one field: `pointer` is a JSON Pointer as a URI fragment (RFC 6901 §6)."""

    pointer: str
    detail: str


class NotJsonError(ValueError):
    """The text is not JSON (RFC 8259), not UTF-8, or nested deeper than is read."""


class InvalidOrderError(ValueError):
    """The text is JSON that is no order; `errors` names every field that is wrong.

    `order_id` is the order's id, where that is right.
    """

    def __init__(self, errors: Sequence[FieldError], *, order_id: int | None = None) -> None:
        shown = "; ".join(f"{error.pointer} {error.detail}" for error in errors[:3])
        super().__init__(shown if len(errors) <= 3 else f"{shown}; and {len(errors) - 3} more")
        self.errors = list(errors)
        self.order_id = order_id


class OrderConflictError(Exception):
    """Another order is already stored under this id."""

    def __init__(self, order_id: int) -> None:
        super().__init__(f"another order is already stored under the id {order_id}")
        self.order_id = order_id


class WrongStatusError(Exception):
    """What was asked for can be done to an order of the status `needed` alone; nothing was changed."""

    def __init__(self, order_id: int, *, status: str, needed: str) -> None:
        super().__init__(f"order {order_id} is {status}, not {needed}")
        self.order_id = order_id
        self.status = status
        self.needed = needed


class QueueFullError(Exception):
    """As many items are waiting as are allowed to; trying again may help."""


class QueueClosedError(Exception):
    """No more items are taken: the server is stopping."""


class StorageBusyError(Exception):
    """Another program held the database's lock until the deadline; nothing was changed, and trying again may help."""


class StorageUnavailableError(Exception):
    """The database can't be read or written: a full disk, a missing file, an I/O error; nothing was changed."""


class StartRefusedError(Exception):
    """The server can't start. The text says why in one line, and shows no secret."""


class DatabaseRefusedError(StartRefusedError):
    """The database can't be used. The text says why in one line; the database was not changed."""
