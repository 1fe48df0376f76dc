"""The writes of a batch, grouped by type, and their results. Used on one thread."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

from models.writes.attempts import Outcome
from models.writes.insertion import InsertResult, NewOrder, NewOrders
from models.writes.result import WriteResult
from models.writes.write import AnyWrite

W = TypeVar("W", bound=AnyWrite)


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

    def apply(self, kind: type[W], work: Callable[[list[W]], Iterable[WriteResult]]) -> None:
        """Passes all writes of this type to `work`, if there are any, and sets the results that it returns."""
        if writes := self.of_type(kind):
            self.set_results(kind, work(writes))

    def new_orders(self) -> Sequence[NewOrder]:
        """All new orders, in the order of the batch."""
        if NewOrders not in self._positions:
            return self.of_type(NewOrder)
        if NewOrder not in self._positions and len(self._positions[NewOrders]) == 1:
            return self.of_type(NewOrders)[0].orders
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


def first_outcomes(outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
    """Returns only the first outcome of each attempt, because a second outcome would count the attempt twice."""
    if len({outcome.sequence for outcome in outcomes}) == len(outcomes):
        return outcomes
    first: dict[tuple[int, int], Outcome] = {}
    for outcome in outcomes:
        first.setdefault((outcome.sequence, outcome.claim), outcome)
    return list(first.values())
