"""How many orders wait in the queue, and what happens if no order is taken."""

import asyncio
from collections.abc import Callable

import pytest

from models.order import Order
from tests.cases import cases
from tests.models.samples import claimed_order, new_order
from tests.workers.recording_reports import RecordingReports
from workers.processors.order_queue import MAX_ORDERS, MAX_WAIT_S, OrderQueue
from workers.processors.outcomes import NotSentError


def orders(*order_ids: int) -> list[Order]:
    return [claimed_order(new_order(order_id), order_id, 0) for order_id in order_ids]


class Queue:
    """A queue of 0.05 s for two places, with a clock that the test sets."""

    def __init__(self, *, places: int = 2, queue_s: float = 0.05) -> None:
        self.now_s = 0.0
        self.places = places
        self.reports = RecordingReports()
        self.stalls = 0
        self._stalled = asyncio.Event()
        self.queue = OrderQueue(queue_s=queue_s, clock=lambda: self.now_s)
        self.queue.open(self.reports, on_stall=self._on_stall, places=lambda: self.places)

    def _on_stall(self) -> None:
        self.stalls += 1
        self._stalled.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Returns when the condition is true. The condition is checked after each stall."""
        while not condition():
            self._stalled.clear()
            await self._stalled.wait()

    def measure(self, duration_s: float, times: int = 200) -> None:
        for _ in range(times):
            self.queue.measure(duration_s)


@pytest.mark.gen_test
async def test_orders_are_taken_oldest_first() -> None:
    queue = Queue().queue
    queue.put(orders(1, 2))
    queue.put(orders(3))
    taken = [queue.take() for _ in range(4)]
    assert [order and order.order_id for order in taken] == [1, 2, 3, None]
    queue.close()


@pytest.mark.gen_test
async def test_all_orders_can_be_taken_at_once() -> None:
    queue = Queue().queue
    queue.put(orders(1, 2))
    assert [order.order_id for order in queue.take_all()] == [1, 2]
    assert (len(queue), queue.take_all()) == (0, [])
    queue.close()


@pytest.mark.gen_test
async def test_before_the_first_result_no_order_waits() -> None:
    assert Queue().queue.capacity() == 2


@pytest.mark.gen_test
@cases(
    ("duration_s", "capacity"),
    [(0.0, MAX_ORDERS), (0.000_001, MAX_ORDERS), (0.002, 2 + 50), (0.025, 2 + 4), (0.06, 2 + 1), (3_600.0, 2)],
)
async def test_the_shorter_attempts_are_the_more_orders_wait(duration_s: float, capacity: int) -> None:
    queue = Queue()
    queue.measure(duration_s)
    assert queue.queue.capacity() == pytest.approx(capacity, abs=1)


@pytest.mark.gen_test
async def test_a_queue_of_no_time_holds_only_orders_for_free_places() -> None:
    queue = Queue(queue_s=0.0)
    queue.measure(0.000_001)
    assert queue.queue.capacity() == 2


@pytest.mark.gen_test
async def test_without_a_place_there_is_no_capacity() -> None:
    queue = Queue(places=0)
    queue.measure(0.000_001)
    assert queue.queue.capacity() == 0


@pytest.mark.gen_test
async def test_a_queue_that_does_not_move_is_reported() -> None:
    queue = Queue()
    queue.queue.put(orders(1, 2))
    await queue.until(lambda: queue.stalls == 2)
    assert (len(queue.queue), queue.reports.results) == (2, [])
    queue.queue.close()


@pytest.mark.gen_test
async def test_orders_are_put_back_if_attempts_become_slow() -> None:
    queue = Queue()
    queue.measure(0.000_1)
    queue.queue.put(orders(*range(1, 11)))
    queue.measure(0.1)
    await queue.until(lambda: queue.stalls == 2)
    assert queue.reports.results == []
    queue.now_s = MAX_WAIT_S
    taken = queue.queue.take()
    assert taken
    await queue.reports.until_results(9)
    assert [order_id for order_id, _ in queue.reports.results] == list(range(2, 11))
    assert {type(error) for _, error in queue.reports.results} == {NotSentError}
    assert queue.queue.capacity() == 2 + 1
    queue.queue.close()


@pytest.mark.gen_test
async def test_orders_are_put_back_if_no_attempt_ends_although_new_ones_arrive() -> None:
    queue = Queue()
    queue.measure(0.000_1)
    queue.queue.put(orders(1, 2))
    await queue.until(lambda: queue.stalls == 1)
    queue.now_s = MAX_WAIT_S
    queue.queue.put(orders(3))
    await queue.reports.until_results(3)
    assert sorted(order_id for order_id, _ in queue.reports.results) == [1, 2, 3]
    # From now on, an order is claimed only for a free place.
    assert queue.queue.capacity() == 2
    queue.queue.close()


@pytest.mark.gen_test
async def test_orders_that_are_attempted_in_time_are_not_put_back() -> None:
    queue = Queue()
    for order_id in range(1, 20):
        queue.now_s += MAX_WAIT_S / 2
        queue.queue.put(orders(order_id))
        await queue.until(lambda: len(queue.queue) == 1)
        stalls = queue.stalls
        await queue.until(lambda before=stalls: queue.stalls > before)  # type: ignore[misc]
        queue.queue.take()
    assert queue.reports.results == []
    queue.queue.close()


@pytest.mark.gen_test
async def test_the_queue_is_checked_again_after_an_error(caplog: pytest.LogCaptureFixture) -> None:
    stalls = []
    stalled_again = asyncio.Event()

    def on_stall() -> None:
        stalls.append(1)
        if len(stalls) == 1:
            raise OSError("a stall")
        stalled_again.set()

    queue = OrderQueue(clock=lambda: 0.0)
    queue.open(RecordingReports(), on_stall=on_stall, places=lambda: 1)
    queue.put(orders(1))
    await stalled_again.wait()
    queue.close()
    [record] = caplog.records
    assert record.name == "asyncio"
    assert record.exc_info
