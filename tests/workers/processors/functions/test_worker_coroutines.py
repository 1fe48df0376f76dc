"""Attempts as coroutines on one event loop, with a real thread."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from models.order import Order
from tests.models.samples import claimed_order, new_order
from tests.workers.recording_reports import RecordingReports
from workers.processors.functions.coroutine_thread import CoroutineThread
from workers.processors.functions.runner import FunctionRunner
from workers.processors.functions.worker_coroutines import WorkerCoroutines
from workers.processors.outcomes import Rejected

WORKERS = 2
TIMEOUT_S = 0.01
OVERDUE = "NoResultError: no result within 0.01 s"


class Shop:
    """Completes orders at once, except for those whose id is below 100: they wait for their release."""

    def __init__(self) -> None:
        self.called: list[int] = []
        self.most_running = 0
        self.running = 0
        self.begun = threading.Semaphore(0)
        self._released: dict[int, asyncio.Event] = {order_id: asyncio.Event() for order_id in range(1, 100)}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def process(self, order: Order) -> None:
        self._loop = asyncio.get_running_loop()
        self.called.append(order.order_id)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            if order.order_id < 100:
                self.begun.release()
                await self._released[order.order_id].wait()
        finally:
            self.running -= 1

    def release(self, *order_ids: int) -> None:
        assert self._loop
        for order_id in order_ids:
            self._loop.call_soon_threadsafe(self._released[order_id].set)


class Coroutines:
    """A runner and its results."""

    def __init__(self, runner: FunctionRunner, reports: RecordingReports) -> None:
        self.runner = runner
        self.reports = reports

    def start(self, *order_ids: int) -> None:
        self.runner.start([claimed_order(new_order(order_id), order_id, 0) for order_id in order_ids])


@asynccontextmanager
async def running(
    function: Callable[[Order], Coroutine[Any, Any, None]], *, timeout_s: float | None = None
) -> AsyncIterator[Coroutines]:
    reports, thread = RecordingReports(), CoroutineThread(timeout_s=timeout_s)
    # No order waits long enough to be put back, because the clock stands still.
    runner = FunctionRunner(
        workers=WorkerCoroutines(processor=function, coroutines=thread),
        places=WORKERS,
        timeout_s=timeout_s,
        clock=lambda: 0.0,
    )
    runner.open(reports)
    try:
        yield Coroutines(runner, reports)
    finally:
        runner.close()
        runner.close()


@pytest.mark.gen_test
async def test_attempts_begin_in_the_order_of_the_queue() -> None:
    shop = Shop()
    async with running(shop.process) as coroutines:
        coroutines.start(101, 102)
        coroutines.start(*range(103, 301))
        await coroutines.reports.until_results(200)
        assert shop.called == sorted(coroutines.reports.completed_ids) == list(range(101, 301))
        assert coroutines.runner.in_time == 0


@pytest.mark.gen_test
async def test_as_many_coroutines_run_at_a_time_as_there_are_workers() -> None:
    shop = Shop()
    async with running(shop.process) as coroutines:
        coroutines.start(1, 2, 3, 101)
        for _ in range(WORKERS):
            shop.begun.acquire()
        assert (shop.called, coroutines.runner.in_time, coroutines.runner.capacity) == ([1, 2], 2, WORKERS)
        shop.release(1)
        shop.begun.acquire()
        shop.release(3)
        await coroutines.reports.until(lambda: coroutines.reports.completed_ids == [1, 3, 101])
        shop.release(2)
        await coroutines.reports.until_results(4)
        assert shop.most_running == WORKERS


@pytest.mark.gen_test
async def test_an_exception_is_reported_and_the_next_orders_are_attempted() -> None:
    errors = {1: Rejected("no"), 2: KeyError("sku"), 3: SystemExit(1), 4: asyncio.CancelledError()}

    async def process(order: Order) -> None:
        if order.order_id in errors:
            raise errors[order.order_id]

    async with running(process) as coroutines:
        coroutines.start(1, 2, 3, 4, 101)
        await coroutines.reports.until_results(5)
        assert {order_id: error for order_id, error in coroutines.reports.results if error} == errors
        assert coroutines.reports.completed_ids == [101]


@pytest.mark.gen_test
async def test_an_error_in_a_report_does_not_delay_other_orders(caplog: pytest.LogCaptureFixture) -> None:
    async def process(order: Order) -> None:
        pass

    reports = RecordingReports(errors_to_raise=1)
    runner = FunctionRunner(workers=WorkerCoroutines(processor=process, coroutines=CoroutineThread()), places=1)
    runner.open(reports)
    runner.start([claimed_order(new_order(order_id), order_id, 0) for order_id in (1, 2, 3)])
    await reports.until_results(2)
    runner.close()
    assert reports.completed_ids == [2, 3]
    assert [bool(record.exc_info) for record in caplog.records] == [True]


@pytest.mark.gen_test
async def test_orders_that_were_withdrawn_are_not_attempted() -> None:
    shop = Shop()
    async with running(shop.process) as coroutines:
        coroutines.start(1, 2, 3, 101)
        for _ in range(WORKERS):
            shop.begun.acquire()
        assert [order.order_id for order in coroutines.runner.withdraw()] == [3, 101]
        shop.release(1, 2)
        await coroutines.reports.until_results(2)
    assert shop.called == [1, 2]


@pytest.mark.gen_test
async def test_a_forked_child_makes_no_more_attempts() -> None:
    shop = Shop()
    async with running(shop.process) as coroutines:
        coroutines.start(1, 2, 101)
        for _ in range(WORKERS):
            shop.begun.acquire()
        coroutines.runner.close_in_child()
        shop.release(1, 2)
        await coroutines.reports.until_results(2)
    assert shop.called == [1, 2]


@pytest.mark.gen_test
async def test_close_cancels_coroutines() -> None:
    shop = Shop()
    async with running(shop.process) as coroutines:
        coroutines.start(1)
        shop.begun.acquire()
        coroutines.runner.close()
        await coroutines.reports.until_results(1)
        assert coroutines.reports.errors(1) == ["CancelledError: "]


@pytest.mark.gen_test
async def test_a_coroutine_that_exceeds_the_time_out_is_cancelled_and_its_place_is_free() -> None:
    shop = Shop()
    async with running(shop.process, timeout_s=TIMEOUT_S) as coroutines:
        coroutines.start(1, 2, 101)
        await coroutines.reports.until_results(3)
        assert coroutines.reports.errors(1) == coroutines.reports.errors(2) == [OVERDUE]
        assert coroutines.reports.completed_ids == [101]
        assert (shop.running, coroutines.runner.overdue) == (0, 0)


@pytest.mark.gen_test
async def test_another_coroutine_takes_the_place_of_one_that_ignores_its_cancellation() -> None:
    now_s = [0.0]
    begun, goes_on = threading.Semaphore(0), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def process(order: Order) -> None:
        if order.order_id > 100:
            return
        loops.append(asyncio.get_running_loop())
        begun.release()
        while not goes_on.is_set():
            try:
                await goes_on.wait()
            except asyncio.CancelledError:
                continue

    reports, thread = RecordingReports(), CoroutineThread(timeout_s=TIMEOUT_S)
    runner = FunctionRunner(
        workers=WorkerCoroutines(processor=process, coroutines=thread),
        places=1,
        timeout_s=TIMEOUT_S,
        clock=lambda: now_s[0],
    )
    runner.open(reports)
    runner.start([claimed_order(new_order(order_id), order_id, 0) for order_id in (1, 101)])
    begun.acquire()
    now_s[0] = TIMEOUT_S
    await reports.until_results(2)
    assert (reports.errors(1), reports.results[1]) == ([OVERDUE], (101, None))
    assert (runner.overdue, runner.capacity) == (1, 1)
    loops[0].call_soon_threadsafe(goes_on.set)
    await reports.until_results(3)
    assert runner.overdue == 0
    runner.close()


@pytest.mark.gen_test
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
async def test_orders_are_attempted_on_a_new_event_loop_if_a_task_ends_the_old_one(
    error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    tasks: list[asyncio.Task[None]] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def leave() -> None:
        raise error

    async def process(order: Order) -> None:
        loops.append(asyncio.get_running_loop())
        if order.order_id == 1:
            tasks.append(asyncio.create_task(leave()))
            await asyncio.Event().wait()

    async with running(process) as coroutines:
        coroutines.start(1)
        await coroutines.reports.until_results(1)
        assert coroutines.reports.errors(1) == ["CancelledError: "]
        coroutines.start(101)
        await coroutines.reports.until_results(2)
        assert coroutines.reports.completed_ids == [101]
        assert loops[0] is not loops[1]
    assert isinstance(tasks[0].exception(), error)
    assert caplog.messages == ["the event loop of the coroutines ended: the next coroutine starts a new one"]


@pytest.mark.gen_test
async def test_orders_are_attempted_on_a_new_event_loop_if_the_function_stops_the_old_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def process(order: Order) -> None:
        if order.order_id == 1:
            asyncio.get_running_loop().stop()
            await asyncio.Event().wait()

    async with running(process) as coroutines:
        coroutines.start(1)
        await coroutines.reports.until_results(1)
        assert coroutines.reports.errors(1) == ["CancelledError: "]
        coroutines.start(101)
        await coroutines.reports.until_results(2)
        assert coroutines.reports.completed_ids == [101]
    assert caplog.messages == ["the event loop of the coroutines ended: the next coroutine starts a new one"]
