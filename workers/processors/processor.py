"""The interfaces between the dispatcher and the runner, which makes attempts at orders."""

from collections.abc import Sequence
from typing import Protocol

from models.order import Order


class AttemptReports(Protocol):
    """Receives the results of attempts. Methods can be called on any thread; they neither block nor raise.

    The event loop reads all reported results together. A result is ignored if the attempt was already given up, because
    it exceeded its time-out or because the server stops.
    """

    def completed(self, orders: Sequence[Order], duration_s: float) -> None:
        """These orders are Completed. Each attempt took `duration_s` seconds."""

    def failed(self, order: Order, error: BaseException, duration_s: float) -> None:
        """The attempt at this order ended with `error`.

        The exceptions of `workers.processors.outcomes` document their effect. After any other exception, the order is
        retried.
        """


class AttemptRunner(Protocol):
    """Makes one attempt at each order that it gets, oldest first. All methods run on the event loop."""

    @property
    def capacity(self) -> int:
        """How many orders the runner can have now, including the orders that it already has.

        The orders are being attempted, or wait for their attempts. The number can change at any time, and is 0 if no
        order can be attempted at the moment.
        """

    @property
    def in_time(self) -> int:
        """How many attempts have begun, have not ended, and are not overdue."""

    @property
    def overdue(self) -> int:
        """How many attempts were given up after their time-out but are still running."""

    @property
    def takes_runs(self) -> bool:
        """Whether `start` gets a ClaimedRun as it is. The runner must then report the same ClaimedRun, as a whole.

        If false, `start` gets lists of orders.
        """

    def open(self, reports: AttemptReports) -> None:
        """Sets the object that receives results. Must be called once, before `start`."""

    def start(self, orders: Sequence[Order]) -> None:
        """Makes an attempt at each order, and reports the result later. Returns at once.

        An attempt that exceeds `--attempt-timeout` fails with NoResultError. The time-out begins with the attempt, not
        with the call of `start`. Raises RuntimeError if no thread can be started. After this error, the caller must
        call `withdraw`.
        """

    def withdraw(self) -> Sequence[Order]:
        """Returns the orders whose attempts have not begun. The runner will not make these attempts."""

    def close(self) -> None:
        """Ends the timers at once, and each thread after its current attempt. Does not wait. Can be called twice.

        `withdraw` must be called first. The results of attempts that are still running are ignored.
        """

    def close_in_child(self) -> None:
        """Must be called in a child process that a user's function forked. Makes no more attempts in the child."""
