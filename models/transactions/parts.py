"""If work fails for many items at once, repeats it for fewer items, so that it fails only for damaged items.

Runs on the caller's thread.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from models.errors import StorageError, StorageUnavailableError

T = TypeVar("T")
R = TypeVar("R")

MAX_FAILURES = 40
"""After this number of parts of a batch have failed, the remaining parts are not tried. If one order among 1,000 is
damaged, 11 parts fail."""
MAX_TIME_S = 2.0
"""The maximum number of seconds for which a batch is repeated in parts."""


class Budget:
    """Limits how often and how long work is repeated. `clock` returns monotonic seconds.

    An error for which `concerns_orders` is false concerns the whole database, and uses up the budget at once.
    """

    def __init__(
        self,
        *,
        concerns_orders: Callable[[StorageError], bool],
        max_failures: int = MAX_FAILURES,
        max_time_s: float = MAX_TIME_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.concerns_orders = concerns_orders
        self._failures_left = max_failures
        self._clock = clock
        self._end_s = clock() + max_time_s
        self._error: StorageError | None = None

    def note(self, error: StorageError) -> None:
        """Counts a part that failed with this error."""
        self._failures_left -= 1
        if not self.concerns_orders(error):
            self._error = error
        elif self._failures_left <= 0 or self._clock() > self._end_s:
            self._error = StorageUnavailableError(f"not tried after other failures: {error}", code=error.code)

    @property
    def error(self) -> StorageError | None:
        """The error for items that are not tried, if the budget is used up; otherwise None."""
        return self._error


class PartResults(NamedTuple, Generic[T, R]):
    """`results` has a result or an error for each item, in the order of the items.

    `damaged` has the items that failed when they were tried alone, with their errors.
    """

    results: list[R | StorageError]
    damaged: list[tuple[T, StorageError]]


def run_in_parts(items: Sequence[T], work: Callable[[Sequence[T]], Sequence[R]], budget: Budget) -> PartResults[T, R]:
    """Calls `work` for all items at once. If `work` raises a StorageError, repeats this for each half of the items.

    `work` must return a result for each item, and must change nothing if it raises. If an item is not tried because the
    budget is used up, its result is `budget.error`.
    """
    results: list[R | StorageError] = []
    damaged: list[tuple[T, StorageError]] = []
    parts = deque([items] if items else [])
    while parts:
        part = parts.popleft()
        if budget.error:
            results += [budget.error] * len(part)
            continue
        try:
            results += work(part)
        except StorageError as error:
            budget.note(error)
            middle = len(part) // 2
            if middle:
                parts.extendleft((part[middle:], part[:middle]))
                continue
            results.append(error)
            if budget.concerns_orders(error):
                damaged.append((part[0], error))
    return PartResults(results, damaged)
