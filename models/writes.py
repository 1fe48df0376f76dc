"""What the store is asked to write, and what comes of it.

Pure values: they belong to no thread.
"""

import enum
from collections.abc import Sequence

from msgspec import Struct, structs

from models.errors import OrderConflictError, WrongStatusError
from models.order import NewOrder, Order, Status


class Insertion(enum.Enum):
    """What the store did with a new order that it did not refuse."""

    ACCEPTED = "accepted"
    REPLAYED = "replayed"


class Outcome(Struct, frozen=True, gc=False, array_like=True):
    """How one attempt at an order ended.

    Completed, which has no error, or Failed ends the order. Pending with `due_us` is a retry, not to begin before then
    (microseconds since 1970, UTC); Pending without it gives the order back as if the attempt had not been.
    """

    sequence: int
    claim: int
    status: Status
    error: str | None = None
    due_us: int | None = None

    def as_text(self) -> "Outcome":
        """The same with an error that SQLite's JSON functions keep whole: Unicode text, and without NUL."""
        if self.error is None:
            return self
        text = self.error.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
        return structs.replace(self, error=text)


class Turn(Struct, frozen=True, gc=False):
    """What processing has to say to the store: how attempts ended, and how many more orders it could take.

    `attempted` are the orders of the outcomes, in their order, as they were claimed.
    """

    outcomes: Sequence[Outcome]
    limit: int
    attempted: Sequence[Order] = ()


class Claimed(Struct, frozen=True, gc=False):
    """What a turn brings back: the orders to process, and when the next of the retries that wait is due.

    None where none waits, or where nothing was to be claimed.
    """

    orders: list[Order]
    next_due_us: int | None = None


class Cancel(Struct, frozen=True, gc=False):
    """A person's wish: the order, if it is Pending, is not to be processed."""

    order_id: int


class Retry(Struct, frozen=True, gc=False):
    """A person's wish: the order, if it is Failed, is to be tried again as if it had never been."""

    order_id: int


class RetryFailed(Struct, frozen=True, gc=False):
    """The same for up to `limit` Failed orders that were accepted after the one with the sequence `after`."""

    after: int
    limit: int


class Moved(Struct, frozen=True, gc=False):
    """An order as it is once a person's wish has been granted, and the status that it had before."""

    order: Order
    was: Status


class Identity(Struct, frozen=True, gc=False, array_like=True):
    """What tells an order from every other one, and whose it is."""

    sequence: int
    order_id: int
    user_id: int


class Retried(Struct, frozen=True, gc=False):
    """Which Failed orders are to be tried again, and the sequence of the last of them."""

    orders: list[Identity]
    last: int


class NewOrders(Struct, frozen=True, gc=False):
    """One new order or more that travel together, each of them stored or not as if it had come alone."""

    orders: list[NewOrder]


Inserted = Insertion | OrderConflictError
"""What becomes of a new order."""
Write = NewOrder | NewOrders | Turn | Cancel | Retry | RetryFailed
"""What may go into one batch."""
Written = Inserted | list[Inserted] | Claimed | Moved | WrongStatusError | Retried | None
"""What may come of it."""
