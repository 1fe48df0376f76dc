"""The interface between the dispatcher and what makes attempts at orders."""

from collections.abc import Sequence
from typing import Protocol

from models.order import Order


class AttemptReports(Protocol):
    """Receives the results of attempts. Methods can be called on any thread; they neither block nor raise.

    The event loop is woken once for all results that are reported before it reads them. A result is ignored if the
    attempt has already ended: for example, if it was given up after its time-out, or abandoned at a stop.
    """

    def completed(self, orders: Sequence[Order], duration_s: float) -> None:
        """These orders are Completed. Each attempt took `duration_s` seconds."""

    def failed(self, order: Order, error: BaseException, duration_s: float) -> None:
        """The attempt ended with this error. If it is one of `workers.processors.outcomes`, it says what follows.

        After any other error, the order is retried.
        """


class AttemptRunner(Protocol):
    """Makes one attempt at each order that it gets, oldest first. All methods run on the event loop."""

    @property
    def capacity(self) -> int:
        """How many orders it can have now: those that are being attempted, and those that wait for their attempt.

        Can change at any time. 0 if no order can be attempted at the moment.
        """

    @property
    def in_time(self) -> int:
        """How many attempts have begun, have not ended, and are not overdue."""

    @property
    def overdue(self) -> int:
        """How many attempts were given up after their time-out and still run."""

    def open(self, reports: AttemptReports) -> None:
        """Must be called once, before `start`."""

    def start(self, orders: Sequence[Order]) -> None:
        """Makes an attempt at each order, and reports the result later. Returns at once.

        An attempt that exceeds `--attempt-timeout` fails with NoResultError. The time begins with the attempt, not with
        the call of `start`. Raises RuntimeError if no thread can be started: `withdraw` then returns the orders.
        """

    def withdraw(self) -> Sequence[Order]:
        """Takes back the orders whose attempts have not begun. No attempt is made at them."""

    def close(self) -> None:
        """Ends the timers at once, and the threads after their attempts. Does not wait. Can be called twice.

        `withdraw` must be called before. Attempts that still run have been abandoned.
        """

    def close_in_child(self) -> None:
        """Called in a child that a user's function has forked: makes no more attempts there."""
