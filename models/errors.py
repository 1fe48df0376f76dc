"""The errors that orders, storage and queues can raise. Callers handle each exception class differently."""

from collections.abc import Sequence
from typing import NamedTuple

MAX_LISTED_ERRORS = 100
"""The maximum number of errors that are listed for one order."""
ERRORS_IN_TEXT = 3
"""The maximum number of errors in the text of an InvalidOrderError."""


class FieldError(NamedTuple):
    """One error in one field. `pointer` is a JSON Pointer in its URI fragment form (RFC 6901 §6)."""

    pointer: str
    detail: str


class NotJsonError(ValueError):
    """The body is not JSON (RFC 8259), is not UTF-8, or is nested too deeply."""


class InvalidOrderError(ValueError):
    """The body is JSON, but not a valid order. `errors` lists the first errors; `total` is the number of all errors.

    `order_id` is the order's id if the id is valid, else None.
    """

    def __init__(self, errors: Sequence[FieldError], *, total: int | None = None, order_id: int | None = None) -> None:
        self.errors = list(errors)
        self.total = len(errors) if total is None else total
        self.order_id = order_id
        shown = errors[:ERRORS_IN_TEXT]
        more = f"; and {self.total - len(shown)} more" if self.total > len(shown) else ""
        super().__init__("; ".join(f"{error.pointer} {error.detail}" for error in shown) + more)


class OrderConflictError(Exception):
    """A different order is already stored under this id."""

    def __init__(self, order_id: int) -> None:
        super().__init__(f"another order is already stored under the id {order_id}")
        self.order_id = order_id


class OrderArchivedError(Exception):
    """The order was deleted after `--keep`. Only its id and its fingerprint are stored."""

    def __init__(self, order_id: int) -> None:
        super().__init__(f"order {order_id} was archived")
        self.order_id = order_id


class BacklogFullError(Exception):
    """The new order was not stored, because too many orders are Pending. The same request can succeed later."""

    def __init__(self, order_id: int) -> None:
        super().__init__("too many orders are Pending; send the order again later")
        self.order_id = order_id


class WrongStatusError(Exception):
    """This action is allowed only for orders with the status `needed`. Nothing was changed.

    `state` is the status for a message, which also says whether the personal data of the order is erased.
    """

    def __init__(self, order_id: int, *, status: str, needed: str, is_erased: bool = False) -> None:
        self.state = f"{status} and erased" if is_erased else status
        super().__init__(f"order {order_id} is {self.state}, not {needed}")
        self.order_id = order_id
        self.status = status
        self.needed = needed


class QueueFullError(Exception):
    """Too many requests wait for the store, or for an order to be processed. The same request can succeed later."""


class QueueClosedError(Exception):
    """The store accepts no more requests, because the server is stopping."""


class StorageError(Exception):
    """The database can't be read or written.

    `code` is SQLite's name of the error, such as `SQLITE_FULL`, or PostgreSQL's code, such as `53100`.
    """

    def __init__(self, text: str = "", *, code: str = "unknown") -> None:
        super().__init__(text)
        self.code = code


class StorageBusyError(StorageError):
    """Another program locks the database. Nothing was changed. The same request can succeed later."""


class StorageUnavailableError(StorageError):
    """The database can't be used, for example because the disk is full or a file is missing. Nothing was changed."""


class StorageDamagedError(StorageUnavailableError):
    """A part of the database is damaged. Nothing was changed. The same request fails until the database is repaired.

    `advice` is added to the log line about the error. If `advice` is empty, the log line says how to check the database
    file.
    """

    def __init__(self, text: str = "", *, code: str = "unknown", advice: str = "") -> None:
        super().__init__(text, code=code)
        self.advice = advice


class CommitUnknownError(StorageError):
    """The connection to the database broke during a commit, and it is not known whether the commit was made.

    The same request can be sent again: an order that was stored is not stored a second time.
    """


class StartRefusedError(Exception):
    """The server can't start. The text gives the reason in one line and contains no secret."""


class DatabaseRefusedError(StartRefusedError):
    """The database can't be used. The text gives the reason in one line. The database was not changed."""


class DatabaseInUseError(DatabaseRefusedError):
    """A server or another command uses the database."""


class BackupError(StartRefusedError):
    """A backup, a restore or a repair was not made, and no file was changed. The text gives the reason in one line."""


class MoveError(StartRefusedError):
    """Not all orders were moved to the other database. The text gives the reason in one line."""
