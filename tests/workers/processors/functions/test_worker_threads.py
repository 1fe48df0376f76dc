"""Attempts on threads. The threads are real, and the time-outs are short."""

import itertools
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest

from models.order import Order
from tests.models.samples import claimed_order, new_order
from tests.workers.recording_reports import RecordingReports
from workers.processors.functions.runner import FunctionRunner
from workers.processors.functions.worker_threads import WorkerThreads
from workers.processors.outcomes import Rejected

WORKERS = 2
TIMEOUT_S = 0.01
OVERDUE = "NoResultError: no result within 0.01 s"


class BlockingProcessor:
    """Completes orders at once, except for those whose id is below 100: they wait for their release."""

    def __init__(self) -> None:
        self.called: list[int] = []
        self.threads: set[int] = set()
        self.begun = threading.Semaphore(0)
        self._released: dict[int, threading.Event] = {order_id: threading.Event() for order_id in range(1, 100)}

    def __call__(self, order: Order) -> None:
        self.called.append(order.order_id)
        self.threads.add(threading.get_ident())
        if order.order_id < 100:
            self.begun.release()
            self._released[order.order_id].wait()

    def release(self, *order_ids: int) -> None:
        for order_id in order_ids:
            self._released[order_id].set()


class Threads:
    """A runner, its processor and the results. The clock stands still until the test sets it."""

    def __init__(
        self,
        processor: BlockingProcessor,
        reports: RecordingReports,
        *,
        workers: int,
        timeout_s: float | None,
        pool: ThreadPoolExecutor,
    ) -> None:
        self.now_s = 0.0
        self.processor = processor
        self.reports = reports
        self.runner = FunctionRunner(
            workers=WorkerThreads(processor=processor, pool=pool),
            places=workers,
            timeout_s=timeout_s,
            clock=lambda: self.now_s,
        )
        self.runner.open(reports)

    async def until_overdue(self, attempts: int) -> None:
        """Lets this number of further attempts begin, and then exceed the time-out."""
        self.wait_until_begun(attempts)
        given_up = len(self.reports.results) + attempts
        self.now_s += TIMEOUT_S
        await self.reports.until_results(given_up)

    def start(self, *order_ids: int) -> None:
        self.runner.start([claimed_order(new_order(order_id), order_id, 0) for order_id in order_ids])

    def wait_until_begun(self, attempts: int) -> None:
        for _ in range(attempts):
            self.processor.begun.acquire()


@asynccontextmanager
async def running(
    *, workers: int = WORKERS, timeout_s: float | None = None, pool: ThreadPoolExecutor | None = None
) -> AsyncIterator[Threads]:
    """Threads that the test uses. At the end, all orders are released, and all threads must end."""
    processor, reports = BlockingProcessor(), RecordingReports()
    pool = pool or ThreadPoolExecutor(workers if timeout_s is None else 2 * workers)
    threads = Threads(processor, reports, workers=workers, timeout_s=timeout_s, pool=pool)
    runner = threads.runner
    try:
        yield threads
    finally:
        runner.close()
        runner.close()
        processor.release(*range(1, 100))
        pool.shutdown()


@pytest.mark.gen_test
async def test_attempts_begin_in_the_order_of_the_queue() -> None:
    async with running(workers=1) as threads:
        threads.start(101, 102)
        threads.start(*range(103, 201))
        await threads.reports.until_results(100)
        assert threads.processor.called == list(range(101, 201))
        assert threads.reports.completed_ids == list(range(101, 201))


@pytest.mark.gen_test
async def test_each_order_is_attempted_once_by_any_number_of_threads() -> None:
    async with running(workers=8) as threads:
        for first in range(101, 2_101, 100):
            threads.start(*range(first, first + 100))
        await threads.reports.until_results(2_000)
        assert sorted(threads.processor.called) == sorted(threads.reports.completed_ids) == list(range(101, 2_101))


@pytest.mark.gen_test
async def test_as_many_orders_are_attempted_at_a_time_as_there_are_workers() -> None:
    async with running() as threads:
        threads.start(1, 2, 3)
        threads.wait_until_begun(2)
        assert (threads.runner.in_time, threads.runner.overdue, threads.runner.capacity) == (2, 0, WORKERS)
        assert sorted(threads.processor.called) == [1, 2]
        threads.processor.release(1)
        threads.wait_until_begun(1)
        assert threads.processor.called[2:] == [3]
        threads.processor.release(2, 3)
        await threads.reports.until_results(3)
        assert threads.runner.in_time == 0


@pytest.mark.gen_test
async def test_a_slow_attempt_delays_none_of_the_orders_that_were_queued_with_it() -> None:
    async with running() as threads:
        # Short attempts: from now on, one thread is woken for many orders.
        threads.start(*range(101, 201))
        await threads.reports.until_results(100)
        threads.start(1, *range(201, 301))
        await threads.reports.until(lambda: threads.reports.completed_ids[100:] == list(range(201, 301)))
        assert threads.runner.in_time == 1
        threads.processor.release(1)
        await threads.reports.until_results(201)


@pytest.mark.gen_test
async def test_all_threads_take_orders_while_attempts_are_slow() -> None:
    async with running(workers=8) as threads:
        threads.start(*range(1, 9))
        threads.wait_until_begun(8)
        assert len(threads.processor.threads) == 8
        threads.processor.release(*range(1, 9))
        await threads.reports.until_results(8)


@pytest.mark.gen_test
async def test_an_exception_is_reported_and_the_thread_goes_on() -> None:
    errors = itertools.cycle([Rejected("no"), KeyError("sku"), SystemExit(1)])

    def fail(order: Order) -> None:
        raise next(errors)

    reports = RecordingReports()
    with ThreadPoolExecutor(1) as pool:
        runner = FunctionRunner(workers=WorkerThreads(processor=fail, pool=pool), places=1)
        runner.open(reports)
        runner.start([claimed_order(new_order(order_id), order_id, 0) for order_id in range(1, 5)])
        await reports.until_results(4)
        runner.close()
    assert [reports.errors(order_id) for order_id in range(1, 5)] == [
        ["Rejected: no"],
        ["KeyError: 'sku'"],
        ["SystemExit: 1"],
        ["Rejected: no"],
    ]


@pytest.mark.gen_test
async def test_another_thread_takes_the_place_of_one_that_an_error_has_ended(caplog: pytest.LogCaptureFixture) -> None:
    reports = RecordingReports(errors_to_raise=1)
    with ThreadPoolExecutor(1) as pool:
        runner = FunctionRunner(workers=WorkerThreads(processor=lambda order: None, pool=pool), places=1)
        runner.open(reports)
        runner.start([claimed_order(new_order(order_id), order_id, 0) for order_id in (1, 2, 3)])
        await reports.until_results(2)
        runner.close()
    assert reports.completed_ids == [2, 3]
    assert caplog.messages == ["a worker thread ended: another thread takes its place"]
    assert caplog.records[0].exc_info


@pytest.mark.gen_test
async def test_orders_that_were_withdrawn_are_not_attempted() -> None:
    async with running() as threads:
        threads.start(1, 2, 3, 101, 102)
        threads.wait_until_begun(2)
        assert [order.order_id for order in threads.runner.withdraw()] == [3, 101, 102]
        assert threads.runner.withdraw() == []
        threads.processor.release(1, 2)
        await threads.reports.until_results(2)
    assert sorted(threads.processor.called) == [1, 2]


@pytest.mark.gen_test
async def test_a_closed_runner_begins_no_attempt_and_its_idle_threads_end() -> None:
    async with running() as threads:
        threads.start(101)
        await threads.reports.until_results(1)
        threads.start(1, 2, 102)
        threads.wait_until_begun(2)
        threads.runner.close()
        threads.processor.release(1, 2)
        await threads.reports.until_results(3)
    assert 102 not in threads.processor.called


@pytest.mark.gen_test
async def test_a_forked_child_makes_no_more_attempts() -> None:
    async with running() as threads:
        threads.start(1, 2, 102)
        threads.wait_until_begun(2)
        threads.runner.close_in_child()
        threads.processor.release(1, 2)
        await threads.reports.until_results(2)
    assert sorted(threads.processor.called) == [1, 2]


@pytest.mark.gen_test
async def test_the_start_fails_only_if_there_is_no_thread_at_all() -> None:
    refusals: Iterator[bool] = iter([True, False, True])

    class RefusingPool(ThreadPoolExecutor):
        def submit(self, *arguments: Any, **options: Any) -> Any:
            if next(refusals):
                raise RuntimeError("can't start new thread")
            return super().submit(*arguments, **options)

    async with running(pool=RefusingPool(WORKERS)) as threads:
        with pytest.raises(RuntimeError, match="can't start new thread"):
            threads.start(101)
        assert [order.order_id for order in threads.runner.withdraw()] == [101]
        threads.start(102, 103)
        await threads.reports.until_results(2)
        assert threads.processor.called == [102, 103]


# Time-outs


@pytest.mark.gen_test
async def test_another_thread_takes_the_place_of_an_overdue_one() -> None:
    async with running(workers=1, timeout_s=TIMEOUT_S) as threads:
        threads.start(1, 101)
        await threads.until_overdue(1)
        await threads.reports.until_results(2)
        assert threads.reports.results[1:] == [(101, None)]
        assert threads.reports.errors(1) == [OVERDUE]
        assert (threads.runner.in_time, threads.runner.overdue) == (0, 1)
        threads.processor.release(1)
        await threads.reports.until_results(3)
        assert (threads.reports.results[2], threads.runner.overdue) == ((1, None), 0)
        threads.start(*range(102, 152))
        await threads.reports.until_results(53)
        assert sorted(threads.reports.completed_ids) == [1, *range(101, 152)]


@pytest.mark.gen_test
async def test_a_thread_that_returns_after_its_time_out_does_not_work_beside_the_one_in_its_place() -> None:
    async with running(workers=1, timeout_s=TIMEOUT_S) as threads:
        threads.start(1)
        await threads.until_overdue(1)
        threads.start(2)
        threads.wait_until_begun(1)
        threads.processor.release(1)
        await threads.reports.until_results(2)
        threads.start(3)
        threads.processor.release(2)
        threads.wait_until_begun(1)
        assert threads.processor.called == [1, 2, 3]
        assert threads.runner.in_time == 1
        threads.processor.release(3)
        await threads.reports.until_results(4)


@pytest.mark.gen_test
async def test_attempts_are_given_up_after_an_error_in_the_check_of_time_outs(caplog: pytest.LogCaptureFixture) -> None:
    async with running(workers=2, timeout_s=TIMEOUT_S) as threads:
        threads.reports.errors_to_raise = 1
        threads.start(1, 2)
        threads.wait_until_begun(2)
        threads.now_s = TIMEOUT_S
        await threads.reports.until_results(1)
        assert len(threads.reports.results) == 1
        threads.start(3)
        threads.wait_until_begun(1)
        threads.now_s = 2 * TIMEOUT_S
        await threads.reports.until_results(2)
    assert caplog.records[0].name == "asyncio"
    assert caplog.records[0].exc_info


@pytest.mark.gen_test
async def test_the_time_out_begins_with_the_attempt() -> None:
    async with running(workers=1, timeout_s=TIMEOUT_S) as threads:
        threads.start(1, 2)
        await threads.until_overdue(1)
        # The second order has waited for as long as the first attempt took.
        threads.wait_until_begun(1)
        assert (threads.reports.errors(1), threads.reports.errors(2)) == ([OVERDUE], [])
        assert (threads.runner.in_time, threads.runner.overdue) == (1, 1)
        threads.processor.begun.release()
        await threads.until_overdue(1)
        assert threads.reports.errors(2) == [OVERDUE]


@pytest.mark.gen_test
async def test_overdue_attempts_reduce_the_capacity_only_if_all_spare_threads_are_occupied(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(timeout_s=TIMEOUT_S) as threads:
        threads.start(1, 2)
        await threads.until_overdue(2)
        assert (threads.runner.overdue, threads.runner.capacity) == (2, 2)
        threads.start(3)
        await threads.until_overdue(1)
        assert (threads.runner.overdue, threads.runner.capacity) == (3, 1)
        threads.start(4)
        await threads.until_overdue(1)
        assert (threads.runner.overdue, threads.runner.capacity) == (4, 0)
        assert caplog.messages == [
            "3 attempts exceeded the time-out and still run: until some of them end, fewer orders are processed",
            "4 attempts exceeded the time-out and still run: until some of them end, no order is processed",
        ]
        threads.processor.release(1, 2)
        await threads.reports.until_results(6)
        assert (threads.runner.overdue, threads.runner.capacity) == (2, 2)
        threads.processor.release(3, 4)
        await threads.reports.until_results(8)
        assert threads.runner.overdue == 0
        threads.start(*range(101, 121))
        await threads.reports.until(lambda: sorted(threads.reports.completed_ids)[4:] == list(range(101, 121)))


@pytest.mark.gen_test
async def test_a_time_out_in_a_queue_of_short_attempts_ends_only_that_attempt() -> None:
    async with running(timeout_s=TIMEOUT_S) as threads:
        threads.start(*range(101, 201))
        await threads.reports.until_results(100)
        threads.start(*range(201, 221), 1, *range(221, 241))
        await threads.reports.until_results(140)
        await threads.until_overdue(1)
        assert sorted(threads.reports.completed_ids) == list(range(101, 241))
        assert threads.reports.errors(1) == [OVERDUE]


@pytest.mark.gen_test
async def test_without_a_time_out_an_attempt_can_take_any_time() -> None:
    async with running() as threads:
        threads.start(1)
        threads.wait_until_begun(1)
        assert (threads.runner.in_time, threads.runner.overdue, threads.reports.results) == (1, 0, [])
        threads.processor.release(1)
        await threads.reports.until_results(1)
