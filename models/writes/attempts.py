"""The write that records the outcomes of attempts and claims orders. Immutable values; usable on any thread."""

from collections.abc import Sequence

from msgspec import Struct, structs

from models.order import Ending, Order, Status
from models.writes.claimed_run import FIRST_CLAIM, ClaimedRun
from models.writes.write import Write

# A constant, because reading `Status.COMPLETED` takes longer than all other work of the loop that uses it.
_COMPLETED = Status.COMPLETED


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
