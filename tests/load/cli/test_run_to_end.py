"""Tests Ctrl-C while a command runs a coroutine: once, twice, and after the coroutine's end."""

import asyncio
import gc
import signal
from collections.abc import Iterator

import pytest

from load.cli.command import run_to_end


async def wait_until_cancelled(*, times: int) -> None:
    """Send Ctrl-C to this process `times` times. Each time, wait for the CancelledError. Raise only the last."""
    for number in range(1, times + 1):
        asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if number == times:
                raise


@pytest.fixture(autouse=True)
def ctrl_c_handler_is_restored() -> Iterator[None]:
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_result_of_the_coroutine_is_returned() -> None:
    assert run_to_end(asyncio.sleep(0, "done")) == "done"


@pytest.mark.parametrize("times", [1, 2, 3])
def test_ctrl_c_ends_a_coroutine_however_often_it_goes_on(times: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_to_end(wait_until_cancelled(times=times))


def test_a_coroutine_that_handles_the_first_ctrl_c_returns_its_result() -> None:
    async def finish() -> str:
        try:
            await wait_until_cancelled(times=1)
        except asyncio.CancelledError:
            return "so far"
        return "not interrupted"

    assert run_to_end(finish()) == "so far"


def test_ctrl_c_while_the_loop_is_closed_is_not_lost() -> None:
    async def leave_a_task() -> None:
        async def interrupt_when_cancelled() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                signal.raise_signal(signal.SIGINT)

        left.append(asyncio.create_task(interrupt_when_cancelled()))
        await asyncio.sleep(0)

    left: list[asyncio.Task[None]] = []
    with pytest.raises(KeyboardInterrupt):
        run_to_end(leave_a_task())


def test_a_second_ctrl_c_in_another_task_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def wait_beside() -> None:
        async def interrupt_twice() -> None:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

        tasks.append(asyncio.create_task(interrupt_twice()))
        await asyncio.Event().wait()

    tasks: list[asyncio.Task[None]] = []
    with pytest.raises(KeyboardInterrupt):
        run_to_end(wait_beside())
    tasks.clear()  # asyncio logs the exception of a task when the task is deleted
    gc.collect()
    assert caplog.messages == []


def test_the_unhandled_error_of_another_task_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def fail_beside() -> None:
        async def fail() -> None:
            raise RuntimeError("no such thing")

        tasks.append(asyncio.create_task(fail()))
        await asyncio.sleep(0)

    tasks: list[asyncio.Task[None]] = []
    run_to_end(fail_beside())
    tasks.clear()
    gc.collect()
    assert "Task exception was never retrieved" in caplog.messages[0]


def test_an_error_of_the_coroutine_is_raised() -> None:
    async def fail() -> None:
        raise RuntimeError("no such thing")

    with pytest.raises(RuntimeError, match="no such thing"):
        run_to_end(fail())
