"""The time-out of attempts. The threads are real, and the time-outs are short."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from models.order import Order, Status
from models.writes import Outcome
from tests.models.samples import Clock, claimed_order, new_order
from workers.backoff import Backoff
from workers.dispatch.failure_log import FailureLog
from workers.dispatch.open_attempts import OpenAttempts
from workers.dispatch.retries import RetryPolicy
from workers.processors.outcomes import Rejected
from workers.processors.processor import Processor

WORKERS = 2
TIMEOUT_S = 0.01


class StuckProcessor:
    """A call does not return until its order is released. It then raises `error`, if there is one."""

    batch_size = 1

    def __init__(self, error: Exception | None = None) -> None:
        self._released: dict[int, threading.Event] = {}
        self._error = error
        self.called: list[int] = []

    def __call__(self, orders: Sequence[Order]) -> None:
        [order] = orders
        self.called.append(order.order_id)
        self._released.setdefault(order.order_id, threading.Event()).wait()
        if self._error:
            raise self._error

    def release(self, *order_ids: int) -> None:
        for order_id in order_ids:
            self._released.setdefault(order_id, threading.Event()).set()


class Attempts:
    """Open attempts with a time-out, and the outcomes that they have reported."""

    def __init__(self, pool: ThreadPoolExecutor, processor: Processor, timeout_s: float | None) -> None:
        self.changed = asyncio.Event()
        self.outcomes: list[Outcome] = []
        self.open = OpenAttempts(
            pool=pool,
            processor=processor,
            retry_policy=RetryPolicy(max_attempts=3, backoff=Backoff(first_s=1, max_s=1), clock=Clock(0)),
            failures=FailureLog(clock=lambda: 0.0),
            changed=self.changed,
            timeout_s=timeout_s,
            spare_threads=WORKERS,
        )

    def start(self, *order_ids: int) -> None:
        self.open.start([claimed_order(new_order(order_id), order_id, 0) for order_id in order_ids])

    async def until(self, condition: Callable[[], bool]) -> None:
        while True:
            write = self.open.as_write(0)
            self.open.remove_recorded(write)
            self.outcomes += write.outcomes
            if condition():
                return
            await self.changed.wait()
            self.changed.clear()


@pytest.fixture
def processor() -> Iterator[StuckProcessor]:
    stuck = StuckProcessor()
    yield stuck
    stuck.release(*range(1, 10))


@pytest.fixture
def pool(processor: StuckProcessor) -> Iterator[ThreadPoolExecutor]:
    executor = ThreadPoolExecutor(2 * WORKERS)
    yield executor
    processor.release(*range(1, 10))
    executor.shutdown()


@pytest.mark.gen_test
async def test_an_overdue_attempt_counts_as_failed_and_its_late_result_is_ignored(
    pool: ThreadPoolExecutor, processor: StuckProcessor
) -> None:
    attempts = Attempts(pool, processor, TIMEOUT_S)
    attempts.start(1)
    await attempts.until(lambda: len(attempts.outcomes) == 1)
    [outcome] = attempts.outcomes
    assert (outcome.status, outcome.error) == (Status.PENDING, "no result within 0.01 s")
    assert outcome.due_us is not None
    assert (attempts.open.running, attempts.open.calls.in_time, attempts.open.calls.overdue) == (0, 0, 1)
    processor.release(1)
    await attempts.until(lambda: attempts.open.calls.overdue == 0)
    assert attempts.outcomes == [outcome]


@pytest.mark.gen_test
async def test_a_late_error_is_not_logged(pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture) -> None:
    processor = StuckProcessor(Rejected("too late"))
    attempts = Attempts(pool, processor, TIMEOUT_S)
    attempts.start(1)
    await attempts.until(lambda: len(attempts.outcomes) == 1)
    processor.release(1)
    await attempts.until(lambda: attempts.open.calls.overdue == 0)
    [line] = caplog.messages
    assert line.endswith("attempt 1 failed, it will be retried: no result within 0.01 s")


@pytest.mark.gen_test
async def test_overdue_attempts_cost_slots_only_when_all_spare_threads_are_occupied(
    pool: ThreadPoolExecutor, processor: StuckProcessor, caplog: pytest.LogCaptureFixture
) -> None:
    attempts = Attempts(pool, processor, TIMEOUT_S)
    attempts.start(1, 2)
    await attempts.until(lambda: attempts.open.calls.overdue == 2)
    assert attempts.open.lost_slots == 0
    attempts.start(3, 4)  # these get the two spare threads
    await attempts.until(lambda: attempts.open.calls.overdue == 4)
    assert attempts.open.lost_slots == 2
    assert [each.message for each in caplog.records if each.name == "workers.dispatch.open_attempts"] == [
        "3 attempts exceeded the time-out and still run: until some of them end, fewer orders are processed",
        "4 attempts exceeded the time-out and still run: until some of them end, no order is processed",
    ]
    processor.release(1, 2)
    await attempts.until(lambda: attempts.open.calls.overdue == 2)
    assert attempts.open.lost_slots == 0


@pytest.mark.gen_test
async def test_an_attempt_that_is_overdue_before_a_thread_is_free_is_not_made(processor: StuckProcessor) -> None:
    with ThreadPoolExecutor(1) as pool:
        attempts = Attempts(pool, processor, TIMEOUT_S)
        attempts.start(1, 2)
        await attempts.until(lambda: attempts.open.calls.overdue == 2)
        processor.release(1)
        await attempts.until(lambda: attempts.open.calls.overdue == 0)
    assert processor.called == [1]


@pytest.mark.gen_test
async def test_a_stop_counts_overdue_attempts_as_abandoned(pool: ThreadPoolExecutor, processor: StuckProcessor) -> None:
    attempts = Attempts(pool, processor, TIMEOUT_S)
    attempts.start(1)
    await attempts.until(lambda: attempts.open.calls.overdue == 1)
    attempts.start(2)
    assert attempts.open.abandon() == 2


@pytest.mark.gen_test
async def test_without_a_time_out_an_attempt_can_take_any_time(
    pool: ThreadPoolExecutor, processor: StuckProcessor
) -> None:
    attempts = Attempts(pool, processor, None)
    attempts.start(1)
    assert (attempts.open.calls.in_time, attempts.open.calls.overdue) == (1, 0)
    processor.release(1)
    await attempts.until(lambda: attempts.open.running == 0)
    assert [outcome.status for outcome in attempts.outcomes] == [Status.COMPLETED]


class PendingProcessor:
    """Returns a future for each order."""

    batch_size = 1

    def __init__(self) -> None:
        self.pending: list[Future[None]] = []

    def __call__(self, orders: Sequence[Order]) -> Future[None]:
        self.pending.append(Future())
        return self.pending[-1]


@pytest.mark.gen_test
async def test_a_future_occupies_no_thread_and_decides_how_the_attempt_ends() -> None:
    processor = PendingProcessor()
    with ThreadPoolExecutor(1) as pool:
        attempts = Attempts(pool, processor, None)
        attempts.start(1, 2)
    first, second = processor.pending  # the only thread has made both calls
    assert attempts.open.running == 2
    second.set_exception(Rejected("no"))
    await attempts.until(lambda: attempts.open.running == 1)
    first.set_result(None)
    await attempts.until(lambda: attempts.open.running == 0)
    assert [(outcome.sequence, outcome.status, outcome.error) for outcome in attempts.outcomes] == [
        (2, Status.FAILED, "no"),
        (1, Status.COMPLETED, None),
    ]
