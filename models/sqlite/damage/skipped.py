"""The orders that are skipped because they are damaged, and when they are tried again. Used on the writer's thread."""

from collections.abc import Callable, Set
from typing import NamedTuple

from models.clock import Clock
from models.database.health import Damage
from models.errors import StorageError
from models.order import Status
from models.sqlite.transaction import Transaction

TRY_AGAIN_US = 10_000_000
"""After a failure, the next skipped order is tried again after this number of microseconds."""


class SkippedOrder(NamedTuple):
    """An order that can't be claimed or finished. `status` is its status. `work` is the call that failed."""

    sequence: int
    status: Status
    work: Callable[[Transaction], object]

    @property
    def name(self) -> str:
        """How the log names the order."""
        return f"the order with sequence {self.sequence}"

    def damage(self, error: StorageError) -> Damage:
        """The damage that made `work` fail with this error."""
        return Damage(self.name, error, f", and stays {self.status}")


class SkippedOrders:
    """The skipped orders, which are tried again one by one, because some faults of a disk are temporary.

    After a failure, the next order is tried `TRY_AGAIN_US` later. After a success, the next order is tried at once.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._orders: dict[int, SkippedOrder] = {}
        self._next_us = 0

    @property
    def sequences(self) -> Set[int]:
        """The sequences of all skipped orders."""
        return self._orders.keys()

    @property
    def next_us(self) -> int | None:
        """The steady time, in microseconds, at which the next order is tried again; None if no order is skipped."""
        return self._next_us if self._orders else None

    def add(self, order: SkippedOrder) -> None:
        """Adds an order that could not be claimed or finished."""
        self._orders[order.sequence] = order
        self._next_us = self._clock() + TRY_AGAIN_US

    def take_due(self) -> SkippedOrder | None:
        """Removes and returns the order that must be tried again now; None if it is too early for the next order."""
        if not self._orders or self._clock() < self._next_us:
            return None
        return self._orders.pop(next(iter(self._orders)))
