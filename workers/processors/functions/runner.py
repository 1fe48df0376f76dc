"""The runner that makes attempts with a user's function. Its methods run on the event loop."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from models.order import Order
from workers.processors.functions.attempts import Attempts
from workers.processors.order_queue import QUEUE_S
from workers.processors.processor import AttemptReports


class Workers(Protocol):
    """Make the attempts: on threads (`WorkerThreads`) or as coroutines (`WorkerCoroutines`)."""

    def open(self, attempts: Attempts) -> None:
        """Sets the object that has the orders. Must be called once, before the other methods."""

    def wake(self) -> None:
        """Must be called after orders have been added. Raises RuntimeError if no thread can be started."""

    def wake_all(self) -> None:
        """Begins as many attempts as possible. Must be called if orders wait too long. Does not raise RuntimeError."""

    def close(self) -> None:
        """See `AttemptRunner`."""

    def close_in_child(self) -> None:
        """See `AttemptRunner`."""


class FunctionRunner:
    """An `AttemptRunner` whose attempts are made by `workers`, up to `places` at a time.

    `timeout_s`, `queue_s` and `clock` are documented in `Attempts`.
    """

    takes_runs = False

    def __init__(
        self,
        *,
        workers: Workers,
        places: int,
        timeout_s: float | None = None,
        queue_s: float = QUEUE_S,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._workers = workers
        self._attempts = Attempts(places=places, timeout_s=timeout_s, queue_s=queue_s, clock=clock)
        workers.open(self._attempts)

    @property
    def capacity(self) -> int:
        return self._attempts.capacity

    @property
    def in_time(self) -> int:
        return self._attempts.in_time

    @property
    def overdue(self) -> int:
        return self._attempts.overdue

    def open(self, reports: AttemptReports) -> None:
        self._attempts.open(reports, on_stall=self._workers.wake_all)

    def start(self, orders: Sequence[Order]) -> None:
        self._attempts.put(orders)
        self._workers.wake()

    def withdraw(self) -> Sequence[Order]:
        return self._attempts.withdraw()

    def close(self) -> None:
        self._attempts.close()
        self._workers.close()

    def close_in_child(self) -> None:
        self._workers.close_in_child()
        self._attempts.withdraw()
