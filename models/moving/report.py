"""Reports the progress of a move in lines for a person. Used on the main thread."""

from collections.abc import Callable

from models.moving.batch import Batch, Recount
from models.order import Status, amount_as_decimal
from models.progress import Report

INTERVAL_S = 5.0
"""How often the progress of a step is reported."""


class Step:
    """Reports the progress and the end of a step that goes through all orders.

    `done` is a participle, such as `copied`. `of` is the number of all orders, and `before` how many of them an
    interrupted step has already done. `clock` returns monotonic seconds.
    """

    def __init__(self, report: Report, clock: Callable[[], float], done: str, *, of: int, before: int = 0) -> None:
        self._report = report
        self._clock = clock
        self._done = done
        self._of = of
        self._before = before
        self._orders = self._attempts = 0
        self._began_s = self._reported_s = clock()

    def add(self, batch: Batch) -> None:
        """Must be called after each batch."""
        self._orders += len(batch.orders)
        self._attempts += len(batch.attempts)
        now_s = self._clock()
        if now_s - self._reported_s >= INTERVAL_S:
            self._reported_s = now_s
            self._report(f"{self._done} {self._before + self._orders:,} of {self._of:,} orders, {self._rate()}")

    def end(self) -> None:
        """Must be called after the last batch."""
        took_s = self._clock() - self._began_s
        self._report(
            f"{self._done} {self._orders:,} orders and {self._attempts:,} attempts in {took_s:.1f} s, {self._rate()}"
        )

    def _rate(self) -> str:
        return f"{self._orders / max(self._clock() - self._began_s, 0.001):,.0f} orders/s"


def describe(recount: Recount) -> str:
    """The recount in one line."""
    total = amount_as_decimal(recount.total_amount)
    return f"{describe_counts(recount.counts)}; total amount {total}; {recount.attempts:,} attempts"


def describe_counts(counts: dict[Status, int]) -> str:
    """The number of orders in each status, in one line."""
    return ", ".join(f"{count:,} {status}" for status, count in counts.items())
