"""Makes all changes of a batch of writes in one transaction. Runs on the thread that opened the transaction."""

from collections.abc import Sequence
from functools import partial

from models.sqlite.archiving import archive, erase
from models.sqlite.attempts import claim, finish
from models.sqlite.commands import cancel, retry, retry_selected, set_paused
from models.sqlite.insertion import insert
from models.sqlite.transaction import Transaction
from models.writes.archiving import ArchiveOrders
from models.writes.attempts import ClaimedOrders, FinishAndClaim
from models.writes.batch import Batch
from models.writes.commands import Cancel, Erase, Retry, RetryOrders, SetPaused
from models.writes.result import WriteResult
from models.writes.write import AnyWrite


def apply_batch(transaction: Transaction, writes: Sequence[AnyWrite]) -> list[WriteResult]:
    """Makes the changes in the order that `Store.write` documents. Returns a result for each write."""
    batch = Batch(writes)
    finishes = batch.of_type(FinishAndClaim)
    if any(write.has_outcomes for write in finishes):
        outcomes = [outcome for write in finishes for outcome in write.outcomes]
        finish(transaction, outcomes, [run for write in finishes for run in write.completed])
    batch.apply(Cancel, partial(cancel, transaction))
    batch.apply(Retry, partial(retry, transaction))
    batch.apply(RetryOrders, partial(retry_selected, transaction))
    batch.apply(SetPaused, partial(set_paused, transaction))
    batch.apply(Erase, partial(erase, transaction))
    batch.apply(ArchiveOrders, partial(archive, transaction))
    claimed: ClaimedOrders | None = None
    if orders := batch.new_orders():
        insertions, claimed = insert(transaction, orders, finishes[0].most if finishes else 0)
        batch.set_insert_results(insertions)
    claims = []
    for write in finishes:
        # A batch that stores many orders also claims many, so that the backlog does not grow.
        limit = write.most if len(orders) > write.limit else write.limit
        claims.append(claimed or (claim(transaction, limit) if write.limit else ClaimedOrders([])))
        claimed = None
    batch.set_results(FinishAndClaim, claims)
    return batch.results
