"""The interface of an order store. `models/sqlite/` implements it.

Every method that reads or writes runs on the caller's thread, blocks it, and is one transaction. If it raises
StorageBusyError or StorageUnavailableError, nothing has been changed.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from models.listing import Listing, Page
from models.order import Attempt, Order, Totals
from models.sqlite.opening import open_sqlite_store
from models.writes import AnyWrite, Outcome, WriteResult


class Store(Protocol):
    """Orders and their totals in one database. `models.sqlite.store.SqliteStore` is one."""

    @property
    def pending(self) -> int:
        """The number of Pending orders as of the last commit, once `recover` has run. Readable on any thread."""

    @property
    def is_writable(self) -> bool:
        """False from a failed write until a new order or a probe has reached the disk. Readable on any thread."""

    def connect(self) -> None:
        """Opens a connection for the calling thread. The methods below need one."""

    def disconnect(self) -> None:
        """Closes the calling thread's connection. May be called without one."""

    def recover(self, outcome_of: Callable[[Attempt], Outcome]) -> int:
        """Records an outcome, returned by `outcome_of`, for each attempt that a crash interrupted.

        Returns the number of these attempts. To be called once, before the first claim.
        """

    def write(self, batch: Sequence[AnyWrite]) -> list[WriteResult]:
        """Makes all changes in one transaction that is synced to disk. Returns a result for each write, in order.

        Changes take effect in this order, wherever they are in the batch:

        1. `FinishAndClaim` records outcomes. The outcome of an attempt that is not running any more changes nothing.
        2. `Cancel`, `Retry` and `RetryFailedOrders`.
        3. `NewOrder` and `NewOrders` store orders. An id that is taken, also within the batch, is not stored again.
        4. `FinishAndClaim` claims orders that are due, oldest first.

        Stores the errors of outcomes `with_storable_error`. A new order whose id is taken is replayed if
        `is_same_order` holds, and is a conflict otherwise.
        """

    def find(self, order_ids: Sequence[int]) -> list[Order | None]:
        """The stored order for each id; None if there is none."""

    def list_orders(self, listing: Listing) -> Page:
        """A page of the orders that match the listing, newest first."""

    def totals(self) -> Totals:
        """The totals as of the last commit. The time this takes does not depend on the number of orders."""

    def probe(self) -> None:
        """Writes to disk without changing an order. Sets `is_writable`, or raises the error that a write would."""

    def close(self) -> None:
        """Releases the database for other servers. To be called last; may be called twice."""


def open_store(database: Path, *, clock: Callable[[], int]) -> Store:
    """Opens the store in the SQLite file `database`, and creates the file if it does not exist.

    `clock` returns microseconds since 1970, UTC. If it raises DatabaseRefusedError, the file has not been
    changed.
    """
    return open_sqlite_store(database, clock=clock)
