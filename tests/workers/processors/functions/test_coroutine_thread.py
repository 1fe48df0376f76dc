"""The thread that runs coroutines. The threads and event loops are real."""

import asyncio
import errno
import gc
import threading
from collections.abc import Iterator

import pytest

from workers.processors.functions.coroutine_thread import CoroutineThread
from workers.processors.outcomes import NoResultError

DEADLINE_S = 30.0


@pytest.fixture
def coroutines() -> Iterator[CoroutineThread]:
    thread = CoroutineThread()
    yield thread
    thread.close()


class Interruptible:
    """A coroutine that waits until it is cancelled, and records how it ended."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.cancelled = threading.Event()

    async def wait(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


def test_coroutines_run_at_the_same_time(coroutines: CoroutineThread) -> None:
    async def meet() -> None:
        await barrier.wait()

    barrier = asyncio.Barrier(100)
    for each in [coroutines.start(meet()) for _ in range(100)]:
        assert each.result(DEADLINE_S) is None


def test_a_coroutine_that_exceeds_the_time_out_is_cancelled() -> None:
    coroutines, interruptible = CoroutineThread(timeout_s=0.01), Interruptible()
    with pytest.raises(NoResultError, match=r"^no result within 0\.01 s$"):
        coroutines.start(interruptible.wait()).result(DEADLINE_S)
    assert interruptible.cancelled.is_set()
    coroutines.close()


def test_a_time_out_error_of_the_coroutine_itself_is_not_changed() -> None:
    async def fail() -> None:
        raise TimeoutError("the bank does not answer")

    coroutines = CoroutineThread(timeout_s=DEADLINE_S)
    with pytest.raises(TimeoutError, match="the bank"):
        coroutines.start(fail()).result(DEADLINE_S)
    coroutines.close()


def test_close_cancels_running_coroutines_and_rejects_new_ones(coroutines: CoroutineThread) -> None:
    interruptible = Interruptible()
    ended = coroutines.start(interruptible.wait())
    assert interruptible.begun.wait(DEADLINE_S)
    coroutines.close()
    assert isinstance(ended.exception(DEADLINE_S), asyncio.CancelledError)
    assert interruptible.cancelled.is_set()
    with pytest.raises(RuntimeError, match="the server stops"):
        coroutines.start(interruptible.wait())
    coroutines.close()


def test_close_cancels_the_tasks_that_a_coroutine_has_started(coroutines: CoroutineThread) -> None:
    interruptible = Interruptible()
    tasks = []

    async def start() -> None:
        tasks.append(asyncio.create_task(interruptible.wait()))

    coroutines.start(start()).result(DEADLINE_S)
    assert interruptible.begun.wait(DEADLINE_S)
    coroutines.close()
    assert interruptible.cancelled.wait(DEADLINE_S)


def test_a_running_coroutine_is_not_garbage(coroutines: CoroutineThread) -> None:
    begun = threading.Event()

    async def wait() -> None:
        begun.set()
        await asyncio.get_running_loop().create_future()  # nothing else refers to this future

    ended = coroutines.start(wait())
    assert begun.wait(DEADLINE_S)
    gc.collect()
    coroutines.close()
    assert isinstance(ended.exception(DEADLINE_S), asyncio.CancelledError)


def test_if_too_many_files_are_open_only_the_coroutine_fails(
    coroutines: CoroutineThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def finish() -> None:
        pass

    def fail() -> asyncio.AbstractEventLoop:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "new_event_loop", fail)
        with pytest.raises(OSError, match="Too many open files"):
            coroutines.start(finish())
    assert coroutines.start(finish()).result(DEADLINE_S) is None


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_task_that_ends_the_event_loop_does_not_end_later_coroutines(
    coroutines: CoroutineThread, error: type[BaseException]
) -> None:
    async def leave() -> None:
        raise error

    async def start() -> None:
        threads.append(threading.current_thread())
        tasks.append(asyncio.create_task(leave()))

    async def finish() -> None:
        threads.append(threading.current_thread())

    threads: list[threading.Thread] = []
    tasks: list[object] = []
    coroutines.start(start()).result(DEADLINE_S)
    threads[0].join(DEADLINE_S)
    coroutines.start(finish()).result(DEADLINE_S)
    assert threads[0] is not threads[1]
