"""The database's clock, on which servers agree. Used on the writer's thread; conversions can be made on any thread."""

from collections.abc import Callable
from typing import TypeVar

from msgspec.structs import replace

from models.clock import Clock
from models.order import Order
from models.writes.attempts import Outcome

TimeOf = TypeVar("TimeOf", Order, Outcome)


class DatabaseTime:
    """Converts between the steady time of this process and times of the database's clock, in microseconds.

    The table `work` contains due times of the database's clock, because the clocks of two servers can differ. The
    difference is measured once. So if somebody sets the database's clock, the due times of this server do not jump.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead_us: int | None = None

    @property
    def is_measured(self) -> bool:
        """Whether `measure` has been called."""
        return self._ahead_us is not None

    def measure(self, read_us: Callable[[], int]) -> None:
        """Measures the difference between the clocks. `read_us` reads the database's clock."""
        before_us = self._clock()
        database_us = read_us()
        self._ahead_us = database_us - (before_us + self._clock()) // 2

    def of(self, steady_us: int) -> int:
        """Converts this steady time to the time of the database's clock."""
        return steady_us + (self._ahead_us or 0)

    def steady(self, database_us: int) -> int:
        """Converts this time of the database's clock to steady time."""
        return database_us - (self._ahead_us or 0)

    def with_steady_due_time(self, order: Order) -> Order:
        """The order with its due time as steady time. In the database, it is a time of the database's clock."""
        return order if order.due_us is None else replace(order, due_us=self.steady(order.due_us))

    def with_database_due_time(self, outcome: Outcome) -> Outcome:
        """The outcome with its due time as a time of the database's clock."""
        return outcome if outcome.due_us is None else replace(outcome, due_us=self.of(outcome.due_us))
