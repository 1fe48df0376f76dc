"""The thread that runs coroutines. The threads and event loops are real."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import pytest

from workers.coroutine_thread import CoroutineThread
from workers.processors.outcomes import NoResultError

DEADLINE_S = 30.0


@pytest.fixture
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(8) as executor:
        yield executor


@pytest.fixture
def coroutines() -> Iterator[CoroutineThread]:
    thread = CoroutineThread()
    yield thread
    thread.close()


class Interruptible:
    """A coroutine that waits until it is cancelled. It records how it ended."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.cancelled = threading.Event()

    async def wait(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


def test_coroutines_run_at_the_same_time(coroutines: CoroutineThread, pool: Executor) -> None:
    async def meet(number: int) -> int:
        await barrier.wait()
        return number

    barrier = asyncio.Barrier(8)
    results = [pool.submit(coroutines.run, meet(number)) for number in range(8)]
    assert [each.result(DEADLINE_S) for each in results] == list(range(8))


def test_a_coroutine_that_exceeds_the_time_out_is_cancelled() -> None:
    coroutines, interruptible = CoroutineThread(timeout_s=0.01), Interruptible()
    with pytest.raises(NoResultError, match=r"^no result within 0\.01 s$"):
        coroutines.run(interruptible.wait())
    assert interruptible.cancelled.is_set()
    coroutines.close()


def test_a_time_out_error_of_the_coroutine_itself_is_not_changed() -> None:
    async def fail() -> None:
        raise TimeoutError("the bank does not answer")

    coroutines = CoroutineThread(timeout_s=DEADLINE_S)
    with pytest.raises(TimeoutError, match="the bank"):
        coroutines.run(fail())
    coroutines.close()


def test_close_cancels_running_coroutines_and_rejects_new_ones(coroutines: CoroutineThread, pool: Executor) -> None:
    interruptible = Interruptible()
    result = pool.submit(coroutines.run, interruptible.wait())
    assert interruptible.begun.wait(DEADLINE_S)
    coroutines.close()
    assert isinstance(result.exception(DEADLINE_S), asyncio.CancelledError)
    assert interruptible.cancelled.is_set()
    with pytest.raises(RuntimeError, match="the server stops"):
        coroutines.run(interruptible.wait())
    coroutines.close()


def test_close_cancels_the_tasks_that_a_coroutine_has_started(coroutines: CoroutineThread) -> None:
    interruptible = Interruptible()
    tasks = []

    async def start() -> None:
        tasks.append(asyncio.create_task(interruptible.wait()))

    coroutines.run(start())
    assert interruptible.begun.wait(DEADLINE_S)
    coroutines.close()
    assert interruptible.cancelled.wait(DEADLINE_S)


def test_a_task_that_ends_the_event_loop_does_not_end_later_coroutines(coroutines: CoroutineThread) -> None:
    threads = []

    async def leave() -> None:
        raise SystemExit

    async def start() -> None:
        threads.append(threading.current_thread())
        tasks.append(asyncio.create_task(leave()))

    async def finish() -> str:
        return "done"

    tasks: list[object] = []
    coroutines.run(start())
    threads[0].join(DEADLINE_S)
    assert coroutines.run(finish()) == "done"
