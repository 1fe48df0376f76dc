"""Makes all changes of a batch of writes in one transaction. Runs on the thread that opened the transaction."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar, cast

from models.sqlite.attempts import claim, finish
from models.sqlite.commands import cancel, retry, retry_selected, set_paused
from models.sqlite.insertion import insert
from models.sqlite.transaction import Transaction
from models.writes import (
    AnyWrite,
    Cancel,
    ClaimedOrders,
    FinishAndClaim,
    InsertResult,
    NewOrder,
    NewOrders,
    Retry,
    RetryOrders,
    SetPaused,
    WriteResult,
)

W = TypeVar("W", bound=AnyWrite)


def apply_batch(transaction: Transaction, writes: Sequence[AnyWrite]) -> list[WriteResult]:
    """Makes the changes in the order that `Store.write` documents. Returns a result for each write."""
    batch = Batch(writes)
    finishes = batch.of_type(FinishAndClaim)
    if outcomes := [outcome for write in finishes for outcome in write.outcomes]:
        finish(transaction, outcomes)
    if cancels := batch.of_type(Cancel):
        batch.set_results(Cancel, cancel(transaction, cancels))
    if retries := batch.of_type(Retry):
        batch.set_results(Retry, retry(transaction, retries))
    if commands := batch.of_type(RetryOrders):
        batch.set_results(RetryOrders, retry_selected(transaction, commands))
    if pauses := batch.of_type(SetPaused):
        batch.set_results(SetPaused, set_paused(transaction, pauses))
    claimed: ClaimedOrders | None = None
    if orders := batch.new_orders():
        insertions, claimed = insert(transaction, orders, finishes[0].limit if finishes else 0)
        batch.set_insert_results(insertions)
    claims = []
    for write in finishes:
        claims.append(claimed or (claim(transaction, write.limit) if write.limit else ClaimedOrders([])))
        claimed = None
    batch.set_results(FinishAndClaim, claims)
    return batch.results


class Batch:
    """Groups the writes of a batch by type. `results[i]` is the result of the write at position i."""

    def __init__(self, writes: Sequence[AnyWrite]) -> None:
        self._writes = writes
        self._positions: defaultdict[type, list[int]] = defaultdict(list)
        for position, write in enumerate(writes):
            self._positions[type(write)].append(position)
        self.results: list[WriteResult] = [None] * len(writes)

    def of_type(self, kind: type[W]) -> list[W]:
        return cast(list[W], [self._writes[position] for position in self._positions[kind]])

    def set_results(self, kind: type[Any], results: Iterable[WriteResult]) -> None:
        for position, result in zip(self._positions[kind], results, strict=True):
            self.results[position] = result

    def new_orders(self) -> list[NewOrder]:
        """All new orders, in the order of the batch."""
        if NewOrders not in self._positions:
            return self.of_type(NewOrder)
        orders: list[NewOrder] = []
        for write in self._writes:
            if isinstance(write, NewOrder):
                orders.append(write)
            elif isinstance(write, NewOrders):
                orders += write.orders
        return orders

    def set_insert_results(self, results: Sequence[InsertResult]) -> None:
        """Sets the results of the writes that store new orders. `results` has one result for each of `new_orders()`."""
        if NewOrders not in self._positions:
            self.set_results(NewOrder, results)
            return
        first = 0
        for position, write in enumerate(self._writes):
            if isinstance(write, NewOrder):
                self.results[position] = results[first]
                first += 1
            elif isinstance(write, NewOrders):
                self.results[position] = list(results[first : first + len(write.orders)])
                first += len(write.orders)
