"""Makes all changes of a batch of writes in one transaction. Runs on the thread that opened the transaction."""

from collections.abc import Sequence
from functools import cache, partial

from msgspec import structs

from models.order import Status
from models.postgresql.archiving import archive, erase
from models.postgresql.attempts import claim, finish
from models.postgresql.commands import cancel, retry, retry_selected, set_paused
from models.postgresql.insertion import Inserted, insert, insert_admitted
from models.postgresql.transaction import Transaction
from models.postgresql.transactions import Transactions
from models.writes.archiving import ArchiveOrders
from models.writes.attempts import ClaimedOrders, FinishAndClaim, Outcome
from models.writes.batch import Batch
from models.writes.commands import Cancel, Erase, Retry, RetryOrders, SetPaused
from models.writes.insertion import NewOrder, NewOrders
from models.writes.result import WriteResult
from models.writes.write import AnyWrite

_IN_THE_PAST_US = 0


def write_batch(
    transactions: Transactions,
    writes: Sequence[AnyWrite],
    put_back: Sequence[Outcome] = (),
    *,
    max_pending: int | None = None,
) -> list[WriteResult]:
    """Runs `apply_batch` in one transaction. Raises a StorageError.

    The result does not contain claimed orders that another server has already taken over. The caller then claims again
    at once.
    """
    results = transactions.run(lambda transaction: apply_batch(transaction, writes, put_back), max_pending=max_pending)
    return [_without_claims(each) for each in results] if transactions.are_claims_lost else results


def _without_claims(result: WriteResult) -> WriteResult:
    if not isinstance(result, ClaimedOrders) or not result.orders:
        return result
    return structs.replace(result, orders=[], next_due_us=_IN_THE_PAST_US)


def apply_batch(
    transaction: Transaction, writes: Sequence[AnyWrite], put_back: Sequence[Outcome] = ()
) -> list[WriteResult]:
    """Makes the changes in the order that `Store.write` documents. Returns a result for each write.

    Before these changes, records the outcomes `put_back`.
    """
    batch = Batch(writes)
    finishes = batch.of_type(FinishAndClaim)
    outcomes = [*put_back, *(outcome for write in finishes for outcome in write.all_outcomes())]
    results_of_outcomes = cache(finish(transaction, outcomes))
    if not all(isinstance(write, (FinishAndClaim, NewOrder, NewOrders)) for write in writes):
        results_of_outcomes()  # It must see the orders as they are before the commands change them.
    batch.apply(Cancel, partial(cancel, transaction))
    batch.apply(Retry, partial(retry, transaction))
    batch.apply(RetryOrders, partial(retry_selected, transaction))
    batch.apply(SetPaused, partial(set_paused, transaction))
    batch.apply(Erase, partial(erase, transaction))
    batch.apply(ArchiveOrders, partial(archive, transaction))
    claimed: ClaimedOrders | None = None
    if orders := batch.new_orders():
        most_put_back = sum(outcome.status is Status.PENDING for outcome in outcomes)
        limit = finishes[0].most if finishes else 0
        if len(orders) + most_put_back <= transaction.room:
            # The statements of `insert` share a round trip with the outcomes.
            results_of = insert(transaction, orders, limit)
            rejected = results_of_outcomes()
            insertions, claimed = results_of()
        else:
            rejected = results_of_outcomes()
            insertions, claimed = _insert(transaction, orders, limit)
        batch.set_insert_results(insertions)
    else:
        rejected = results_of_outcomes()
    claims = []
    for write in finishes:
        each = claimed or (claim(transaction, write.limit) if write.limit else ClaimedOrders([]))
        claims.append(structs.replace(each, rejected=rejected) if rejected else each)
        claimed = None
    batch.set_results(FinishAndClaim, claims)
    again = {order.sequence for order in transaction.claimed}
    transaction.note_changed(
        each.sequence for each in put_back if each.sequence not in again and (each.sequence, each.claim) not in rejected
    )
    transaction.note_batch(writes, batch.results)
    return batch.results


def _insert(transaction: Transaction, orders: Sequence[NewOrder], limit: int) -> Inserted:
    if len(orders) <= transaction.room:
        return insert(transaction, orders, limit)()
    return insert_admitted(transaction, orders, limit)
