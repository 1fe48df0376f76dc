"""If a batch failed in one transaction, repeats it in several transactions. Runs on the writer's thread."""

from collections.abc import Sequence
from functools import partial
from typing import cast

from models.database.health import Damage
from models.errors import StorageError
from models.order import Status
from models.sqlite.attempts import claim, claim_candidates, finish, try_to_claim
from models.sqlite.batch import apply_batch
from models.sqlite.damage.skipped import SkippedOrder
from models.sqlite.damage.split_retry import retry_in_parts
from models.sqlite.transaction import Transaction
from models.sqlite.transactions import Transactions
from models.transactions.parts import Budget, run_in_parts
from models.writes.archiving import ArchiveOrders
from models.writes.attempts import ClaimedOrders, FinishAndClaim, Outcome
from models.writes.batch import Batch
from models.writes.commands import Cancel, Erase, RetriedOrders, Retry, RetryOrders, SetPaused
from models.writes.insertion import InsertResult, NewOrder
from models.writes.result import WriteResult
from models.writes.write import AnyWrite


class SplitBatch:
    """Makes the changes of a batch in parts, in the order that `Store.write` documents. Only damaged orders fail.

    An order that can't be claimed, or whose outcome can't be recorded, is added to `transactions.skipped`. `damaged`
    describes all orders that failed when they were tried alone.
    """

    def __init__(
        self, writes: Sequence[AnyWrite], *, transactions: Transactions, max_pending: int | None, budget: Budget
    ) -> None:
        self._batch = Batch(writes)
        self._transactions = transactions
        self._max_pending = max_pending
        self._budget = budget
        self.damaged: list[Damage] = []

    def write(self) -> list[WriteResult]:
        """A result for each write, in order. If all writes fail, raises the error of the first write."""
        batch = self._batch
        finishes = batch.of_type(FinishAndClaim)
        error = self._record([outcome for write in finishes for outcome in write.all_outcomes()])
        for kind in (Cancel, Retry):
            batch.set_results(kind, self._apply(batch.of_type(kind)))
        batch.set_results(RetryOrders, [self._retry_selected(write) for write in batch.of_type(RetryOrders)])
        for other in (SetPaused, Erase, ArchiveOrders):
            batch.set_results(other, self._apply(batch.of_type(other)))
        batch.set_insert_results(cast(list[InsertResult], self._apply(batch.new_orders())))
        batch.set_results(FinishAndClaim, [error or self._claim(write) for write in finishes])
        results = [_error_of_all(result) or result for result in batch.results]
        errors = [result for result in results if isinstance(result, StorageError)]
        if errors and len(errors) == len(results):
            raise errors[0]
        return results

    def _record(self, outcomes: Sequence[Outcome]) -> StorageError | None:
        """Records outcomes, but not of damaged orders. Returns an error if some outcomes were not tried."""

        def record(part: Sequence[Outcome]) -> list[None]:
            self._transactions.run(lambda transaction: finish(transaction, part))
            return [None] * len(part)

        _, damaged = run_in_parts(outcomes, record, self._budget)
        for outcome, error in damaged:
            self._skip(SkippedOrder(outcome.sequence, Status.PROCESSING, partial(finish, outcomes=[outcome])), error)
        return self._budget.error

    def _apply(self, writes: Sequence[AnyWrite]) -> list[WriteResult | StorageError]:
        def apply(part: Sequence[AnyWrite]) -> list[WriteResult]:
            return self._transactions.run(
                lambda transaction: apply_batch(transaction, part), max_pending=self._max_pending
            )

        results, damaged = run_in_parts(writes, apply, self._budget)
        self.damaged += [Damage(_name_of(write), error) for write, error in damaged]
        return results

    def _retry_selected(self, command: RetryOrders) -> RetriedOrders | StorageError:
        result, damaged = retry_in_parts(self._transactions, command, self._budget)
        self.damaged += damaged
        return result

    def _claim(self, write: FinishAndClaim) -> ClaimedOrders | StorageError:
        if self._budget.error:
            return self._budget.error
        try:
            return self._transactions.run(partial(_claim, limit=write.limit))
        except StorageError as error:
            self._budget.note(error)
        claimed = self._claim_undamaged(write.limit)
        if isinstance(claimed, StorageError) and write.has_outcomes:
            # Not an error, because the outcomes are recorded and must not be passed again. `next_due_us` is in the
            # past, so the caller claims again at once.
            return ClaimedOrders([], next_due_us=0)
        return claimed

    def _claim_undamaged(self, limit: int) -> ClaimedOrders | StorageError:
        try:
            candidates = self._transactions.run(partial(claim_candidates, limit=limit))
            _, damaged = run_in_parts(candidates, self._try_to_claim, self._budget)
            for sequence, error in damaged:
                self._skip(SkippedOrder(sequence, Status.PENDING, partial(try_to_claim, sequences=[sequence])), error)
            return self._budget.error or self._transactions.run(partial(_claim, limit=limit))
        except StorageError as failure:
            self.damaged.append(Damage("the list of orders to process", failure))
            return failure

    def _try_to_claim(self, sequences: Sequence[int]) -> list[None]:
        self._transactions.run(lambda transaction: try_to_claim(transaction, sequences))
        return [None] * len(sequences)

    def _skip(self, order: SkippedOrder, error: StorageError) -> None:
        self._transactions.skipped.add(order)
        self.damaged.append(order.damage(error))


def _claim(transaction: Transaction, limit: int) -> ClaimedOrders:
    return claim(transaction, limit) if limit else ClaimedOrders([])


def _name_of(write: AnyWrite) -> str:
    if isinstance(write, NewOrder | Cancel | Retry | Erase):
        return f"order {write.order_id}"
    if isinstance(write, ArchiveOrders):
        return f"one of the {len(write.orders)} orders from {write.orders[0].order_id} on, which expired"
    return "the state of processing"


def _error_of_all(result: WriteResult) -> StorageError | None:
    """The error of the first order, if this is the result of a `NewOrders` and all orders failed; else None."""
    if isinstance(result, list) and result and all(isinstance(each, StorageError) for each in result):
        return result[0] if isinstance(result[0], StorageError) else None
    return None
