"""An AttemptReports that records the results."""

import asyncio
from collections.abc import Callable, Sequence

from models.order import Order
from workers.processors.processor import AttemptReports


class RecordingReports(AttemptReports):
    """Records each result as the order's id and the error. Create it on a running loop.

    The first `errors_to_raise` calls fail instead.
    """

    def __init__(self, *, errors_to_raise: int = 0) -> None:
        self.errors_to_raise = errors_to_raise
        self.results: list[tuple[int, BaseException | None]] = []
        self._loop = asyncio.get_running_loop()
        self._reported = asyncio.Event()

    def completed(self, orders: Sequence[Order], duration_s: float) -> None:
        self._raise_if_faulty()
        self.results += [(order.order_id, None) for order in orders]
        self._loop.call_soon_threadsafe(self._reported.set)

    def failed(self, order: Order, error: BaseException, duration_s: float) -> None:
        self._raise_if_faulty()
        self.results.append((order.order_id, error))
        self._loop.call_soon_threadsafe(self._reported.set)

    def _raise_if_faulty(self) -> None:
        if self.errors_to_raise:
            self.errors_to_raise -= 1
            raise OSError("a report")

    @property
    def completed_ids(self) -> list[int]:
        return [order_id for order_id, error in self.results if error is None]

    def errors(self, order_id: int) -> list[str]:
        """The texts of the errors of this order, with their types."""
        return [f"{type(error).__name__}: {error}" for each, error in self.results if each == order_id and error]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Returns when the condition is true. The condition is checked after each result."""
        while not condition():
            await self._reported.wait()
            self._reported.clear()

    async def until_results(self, count: int) -> None:
        await self.until(lambda: len(self.results) >= count)
