"""The store's write requests and their results. Immutable values; usable on any thread."""

import enum
from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from msgspec import Struct, structs

from models.claimed_run import FIRST_CLAIM, ClaimedRun
from models.errors import BacklogFullError, OrderConflictError, StorageError
from models.order import Ending, Order, Status

# A constant, because reading `Status.COMPLETED` takes longer than all other work of the loop that uses it.
_COMPLETED = Status.COMPLETED
R = TypeVar("R")
R_contra = TypeVar("R_contra", contravariant=True)


class Waiter(Protocol[R_contra]):
    """Receives the result of a read or write, on the event loop. `asyncio.Future` implements this interface."""

    def cancelled(self) -> bool:
        """Whether the result is no longer needed. The other methods are then not called."""

    def set_result(self, result: R_contra, /) -> None:
        """Called at most once, with the result."""

    def set_exception(self, exception: BaseException, /) -> None:
        """Called at most once, instead of `set_result`."""


class Write(Struct, Generic[R], frozen=True, gc=False):
    """A write request to the store. Its result has the type R, or is an exception that is raised to the caller."""


class Insertion(enum.Enum):
    """The result for a new order: ACCEPTED if it was stored now, REPLAYED if it was stored earlier."""

    ACCEPTED = "accepted"
    REPLAYED = "replayed"


InsertResult = Insertion | OrderConflictError | BacklogFullError | StorageError
"""The result for one new order. A StorageError means that this order was not stored. Other orders of the same batch can
have been stored."""


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

    orders: Sequence[NewOrder]


def storable_text(text: str) -> str:
    """Replaces the characters that some databases can't store: NUL, and halves of surrogate pairs."""
    return text.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


class Outcome(Struct, frozen=True, gc=False):
    """How one attempt at an order ended.

    `status` is the new status of the order. Completed and Failed are final; `error` is None if the order is Completed.
    If the order is Pending and has a `due_us`, it is retried at this steady time (`models/clock.py`), and the attempt
    counts towards `--max-attempts` if `counts` is true. If the order is Pending and `due_us` is None, it is ready at
    once, as if it had not been claimed, and the attempt does not count.

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
        return structs.replace(self, error=storable_text(self.error))


AttemptKey = tuple[int, int]
"""The sequence of an order, and the number of a claim of this order (`Attempt.claim`)."""


class ClaimedOrders(Struct, frozen=True, gc=False):
    """The orders that a write claimed, that is, made Processing.

    Orders must be claimed again at the steady time `next_due_us`, because a retry is due then, or because a damaged
    order must be tried again. `next_due_us` is None if no order waits for this, if the limit was 0, or while processing
    is paused.

    `rejected` has the attempts whose outcomes were not recorded, because another server had taken the order over or
    because the order is damaged. `rejected` can contain attempts of other writes of the batch.
    """

    orders: Sequence[Order]
    next_due_us: int | None = None
    rejected: frozenset[AttemptKey] = frozenset()


class FinishAndClaim(Write[ClaimedOrders], frozen=True, gc=False):
    """Record the outcomes of attempts, then claim up to `limit` orders.

    `attempted[i]` is the order that `outcomes[i]` belongs to, with the values that it had when it was claimed.

    If the same transaction stores at most `new_limit` new orders, and no other order is ready, claims these new orders
    instead. If `new_limit` is None, it is `limit`. To claim new orders takes less time than to claim stored orders. A
    transaction that stores more than `limit` new orders can also claim up to `new_limit` stored orders.

    `completed` has runs whose attempts have all completed their orders. `outcomes` does not contain these attempts.
    """

    outcomes: Sequence[Outcome]
    limit: int
    attempted: Sequence[Order] = ()
    new_limit: int | None = None
    completed: Sequence[ClaimedRun] = ()

    def all_outcomes(self) -> list[Outcome]:
        """The outcomes of all attempts, including the attempts in `completed`."""
        sequences = (sequence for run in self.completed for sequence in run.sequences)
        return [*self.outcomes, *(Outcome(sequence, FIRST_CLAIM, _COMPLETED) for sequence in sequences)]

    @property
    def has_outcomes(self) -> bool:
        """Whether any attempt has ended."""
        return bool(self.outcomes or self.completed)

    def recorded(self, result: ClaimedOrders) -> Sequence[Outcome]:
        """The outcomes of this write that `result` does not reject."""
        if not result.rejected:
            return self.outcomes
        return [each for each in self.outcomes if (each.sequence, each.claim) not in result.rejected]

    @property
    def most(self) -> int:
        """How many orders this write can claim."""
        return max(self.limit, self.new_limit or 0)


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


class ArchiveMember(NamedTuple):
    """The part of an archive that contains the orders of an `ArchiveOrders`. `archive` identifies the archive."""

    archive: int
    number: int


class ArchiveOrders(Write[bool], frozen=True, gc=False):
    """Delete these Completed or Cancelled orders, and keep only the fingerprint of each: see `models/fingerprint.py`.

    If one of the orders is no longer as given, for example because it was erased, the result is False, and none is
    deleted. Stores `member` if it deletes the orders: see `Store.last_member`. `fingerprints` has the id and the
    fingerprint of each order that was not erased. `models.archiving.archive_orders` computes them.
    """

    orders: Sequence[Order]
    fingerprints: Sequence[tuple[int, int]]
    member: ArchiveMember | None = None


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


AnyWrite = Write[Any]
WriteResult = (
    Insertion | list[InsertResult] | ClaimedOrders | StatusChanged | RetriedOrders | Order | bool | Exception | None
)
"""The result of any write. If the result is an exception, only the caller of this write gets it."""
