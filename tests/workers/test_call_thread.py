"""CallThread: the order of calls, their results, and the end of the thread."""

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.process import DEADLINE_S
from workers.call_thread import CallThread


@pytest.fixture
def thread() -> Iterator[CallThread]:
    with closing(CallThread("test")) as thread:
        yield thread


@pytest.mark.gen_test
async def test_calls_run_in_order_on_one_thread_with_the_given_name(thread: CallThread) -> None:
    seen: list[tuple[int, str]] = []
    for number in range(100):
        thread.put(lambda number: seen.append((number, threading.current_thread().name)), number)
    name = await thread.run(lambda: threading.current_thread().name)
    assert seen == [(number, name) for number in range(100)]
    assert name.startswith("test")


@pytest.mark.gen_test
async def test_run_returns_the_result_of_the_call_or_raises_its_exception(thread: CallThread) -> None:
    assert await thread.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await thread.run(divmod, 7, 0)
    assert await thread.run(divmod, 9, 2) == (4, 1)


@pytest.mark.gen_test
async def test_close_ends_the_thread_after_all_earlier_calls() -> None:
    thread = CallThread("test")
    seen: list[int] = []
    worker = await thread.run(threading.current_thread)
    for number in range(3):
        thread.put(seen.append, number)
    thread.close()
    thread.close()
    worker.join(timeout=DEADLINE_S)
    assert (worker.is_alive(), seen) == (False, [0, 1, 2])


@pytest.mark.gen_test
@pytest.mark.parametrize("error", [OSError("disk"), SystemExit(1)])
async def test_a_call_that_raises_is_logged_and_the_thread_runs_the_next_calls(
    thread: CallThread, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: None) -> None:
        raise error

    before = await thread.run(threading.current_thread)
    thread.put(fail, None)
    assert await thread.run(threading.current_thread) is before
    [record] = caplog.records
    assert record.getMessage() == "a call on the thread test failed"
    assert record.exc_info
    assert record.exc_info[1] is error
