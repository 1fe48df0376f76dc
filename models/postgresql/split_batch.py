"""If a batch failed in one transaction, repeats it in several transactions. Runs on the writer's thread.

For example, an order fails because of a damaged page. Then only this order must fail, and not the other orders of its
batch.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar, cast

from msgspec import structs

from models.database.health import Damage
from models.errors import StorageError
from models.postgresql.attempts import finish
from models.postgresql.batch import write_batch
from models.postgresql.connection.errors import concerns_orders
from models.postgresql.transaction import Transaction
from models.postgresql.transactions import Transactions
from models.transactions.parts import Budget, run_in_parts
from models.writes.archiving import ArchiveOrders
from models.writes.attempts import AttemptKey, ClaimedOrders, FinishAndClaim, Outcome
from models.writes.batch import Batch
from models.writes.commands import Cancel, Erase, Retry, RetryOrders, SetPaused
from models.writes.insertion import InsertResult
from models.writes.result import WriteResult
from models.writes.write import AnyWrite

T = TypeVar("T")


class SplitBatch:
    """Makes the changes of a batch in parts, in the order that `Store.write` documents.

    `damaged` describes what failed when it was tried alone. An outcome that fails alone is dropped: its order stays
    Processing until this server ends.
    """

    def __init__(self, writes: Sequence[AnyWrite], *, transactions: Transactions, max_pending: int | None) -> None:
        self._batch = Batch(writes)
        self._transactions = transactions
        self._max_pending = max_pending
        self._budget = Budget(concerns_orders=concerns_orders)
        self.damaged: list[Damage] = []

    def write(self) -> list[WriteResult]:
        """A result for each write, in order. If all writes fail, raises the error of the first write."""
        batch = self._batch
        finishes = batch.of_type(FinishAndClaim)
        outcomes = [outcome for write in finishes for outcome in write.all_outcomes()]
        rejections = self._in_parts(
            outcomes, self._record, lambda outcome: f"the order with sequence {outcome.sequence}"
        )
        rejected = frozenset(
            (each.sequence, each.claim)
            for each, is_rejected in zip(outcomes, rejections, strict=True)
            if is_rejected is not False
        )
        for kind in (Cancel, Retry, RetryOrders, SetPaused, Erase, ArchiveOrders):
            writes: Sequence[AnyWrite] = batch.of_type(kind)
            batch.set_results(kind, self._in_parts(writes, self._apply, lambda write: f"an order that {write} selects"))
        inserted = self._in_parts(batch.new_orders(), self._apply, lambda order: f"order {order.order_id}")
        batch.set_insert_results(cast(list[InsertResult], inserted))
        claims = [FinishAndClaim([], write.limit) for write in finishes]
        results = self._in_parts(claims, self._apply, lambda _: "an order that is ready")
        batch.set_results(FinishAndClaim, [_with_rejected(result, rejected) for result in results])
        errors = [each for result in batch.results for each in _errors_in(result)]
        if errors and all(_has_failed(result) for result in batch.results):
            raise errors[0]
        return batch.results

    def _record(self, outcomes: Sequence[Outcome]) -> list[WriteResult]:
        """Records the outcomes. Returns for each outcome whether it was rejected."""

        def record(transaction: Transaction) -> frozenset[AttemptKey]:
            rejected = finish(transaction, outcomes)()
            transaction.note_changed(each.sequence for each in outcomes if (each.sequence, each.claim) not in rejected)
            return rejected

        rejected = self._transactions.run(record)
        return [(each.sequence, each.claim) in rejected for each in outcomes]

    def _apply(self, writes: Sequence[AnyWrite]) -> list[WriteResult]:
        return write_batch(self._transactions, writes, max_pending=self._max_pending)

    def _in_parts(
        self, items: Sequence[T], work: Callable[[Sequence[T]], list[WriteResult]], name_of: Callable[[T], str]
    ) -> list[WriteResult]:
        """A result or an error for each item. Adds the items that failed alone to `damaged`."""
        results, damaged = run_in_parts(items, work, self._budget)
        self.damaged += [Damage(name_of(item), error) for item, error in damaged]
        return results


def _with_rejected(result: WriteResult, rejected: frozenset[AttemptKey]) -> WriteResult:
    return structs.replace(result, rejected=rejected) if isinstance(result, ClaimedOrders) else result


def _errors_in(result: WriteResult) -> list[StorageError]:
    found = result if isinstance(result, list) else [result]
    return [each for each in found if isinstance(each, StorageError)]


def _has_failed(result: WriteResult) -> bool:
    """Whether the result is an error, or the list of the results of new orders that have all failed."""
    count = len(result) if isinstance(result, list) else 1
    return count == len(_errors_in(result)) > 0
