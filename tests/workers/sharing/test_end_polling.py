"""Requests that wait for an order learn that another server has ended it."""

import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager

import pytest

from models.errors import StorageBusyError
from tests.loop_time import LoopTime
from workers.batcher import Batcher
from workers.call_thread import CallThread
from workers.sharing.end_polling import INTERVAL_MS, MAX_SHARE, EndPolling
from workers.waiters import CompletionWaiters

INTERVAL_S = INTERVAL_MS / 1_000


class Ends:
    """The orders that other servers have ended, and the lookups."""

    def __init__(self) -> None:
        self.ended: set[int] = set()
        self.fails = False
        self.lookups: list[list[int]] = []
        self.gate = threading.Event()
        self.gate.set()

    def find(self, requests: Sequence[Sequence[int]]) -> list[Sequence[int] | Exception]:
        self.gate.wait()
        self.lookups += map(sorted, requests)
        if self.fails:
            return [StorageBusyError("busy", code="57014")] * len(requests)
        return [sorted(self.ended.intersection(order_ids)) for order_ids in requests]


@pytest.fixture
def ends() -> Ends:
    return Ends()


@pytest.fixture
def thread() -> Iterator[CallThread]:
    thread = CallThread("reader")
    yield thread
    thread.close()


async def pass_interval(loop_time: LoopTime, thread: CallThread) -> None:
    """Returns when the lookup of this interval has ended on the thread. Otherwise, it could take many intervals."""
    await loop_time.advance(INTERVAL_S)
    await thread.run(lambda: None)


@asynccontextmanager
async def polling(ends: Ends, waiters: CompletionWaiters, thread: CallThread) -> AsyncIterator[None]:
    queue: Batcher[Sequence[int], Sequence[int]] = Batcher(thread, ends.find, max_waiting=10)
    polling = EndPolling(queue, waiters=waiters)
    polling.start()
    try:
        yield
    finally:
        polling.stop()
        ends.gate.set()
        await queue.close()


@pytest.mark.gen_test
async def test_one_lookup_finds_all_orders_that_have_ended(loop_time: LoopTime, thread: CallThread, ends: Ends) -> None:
    waiters = CompletionWaiters(max_waiting=10)
    async with polling(ends, waiters, thread):
        with ExitStack() as stack:
            one, two, three = (stack.enter_context(waiters.waiting_for(order_id)) for order_id in (1, 2, 3))
            while not ends.lookups:
                await pass_interval(loop_time, thread)
            assert ends.lookups[0] == [1, 2, 3]
            assert not one.is_set()
            ends.ended |= {1, 3, 4}
            while not (one.is_set() and three.is_set()):
                await pass_interval(loop_time, thread)
            assert not two.is_set()


@pytest.mark.gen_test
async def test_nothing_is_looked_up_while_nobody_waits(loop_time: LoopTime, thread: CallThread, ends: Ends) -> None:
    waiters = CompletionWaiters(max_waiting=10)
    async with polling(ends, waiters, thread):
        with waiters.waiting_for(1):
            pass
        for _ in range(20):
            await loop_time.advance(INTERVAL_S)
    assert ends.lookups == []


@pytest.mark.gen_test
async def test_a_lookup_that_fails_is_logged_once_and_repeated(
    loop_time: LoopTime, thread: CallThread, ends: Ends, caplog: pytest.LogCaptureFixture
) -> None:
    waiters = CompletionWaiters(max_waiting=10)
    ends.ended.add(1)
    ends.fails = True
    async with polling(ends, waiters, thread):
        with waiters.waiting_for(1) as one:
            while len(ends.lookups) < 2:
                await pass_interval(loop_time, thread)
            assert not one.is_set()
            ends.fails = False
            while not one.is_set():
                await pass_interval(loop_time, thread)
    assert caplog.messages == ["the orders for which requests wait can't be looked up: busy"]


@pytest.mark.gen_test
async def test_after_a_long_lookup_other_reads_have_time(loop_time: LoopTime, thread: CallThread, ends: Ends) -> None:
    waiters = CompletionWaiters(max_waiting=10)
    long_s = 2.0
    async with polling(ends, waiters, thread):
        with waiters.waiting_for(1) as one:
            ends.gate.clear()
            await loop_time.advance(INTERVAL_S)
            await loop_time.advance(long_s)
            ends.ended.add(1)
            ends.gate.set()
            while not one.is_set():
                await loop_time.advance(0)
            for _ in range(round(long_s * (1 / MAX_SHARE - 1) / INTERVAL_S) - 1):
                await loop_time.advance(INTERVAL_S)
            assert len(ends.lookups) == 1
            while len(ends.lookups) == 1:
                await pass_interval(loop_time, thread)
