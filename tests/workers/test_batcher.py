"""The batcher, with work on a real thread that waits until the test releases it."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest

from models.errors import QueueClosedError, QueueFullError
from tests.process import DEADLINE_S
from tests.workers.event_loop import next_loop_iteration
from workers.batcher import Batcher
from workers.call_thread import CallThread


class GatedWork:
    """Doubles numbers. The result for a negative number is an exception. Each call waits for `release`."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.threads: set[str] = set()
        self.running = 0
        self.most_running = 0
        self.error: BaseException | None = None
        self._loop = asyncio.get_running_loop()
        self._begun = asyncio.Semaphore(0)
        self._gate = threading.Semaphore(0)

    def __call__(self, items: Sequence[int]) -> list[int | Exception]:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.batches.append(list(items))
        self.threads.add(threading.current_thread().name)
        self._loop.call_soon_threadsafe(self._begun.release)
        self._gate.acquire()
        self.running -= 1
        if self.error:
            raise self.error
        return [ValueError(f"{item} is negative") if item < 0 else 2 * item for item in items]

    async def begun(self) -> None:
        """Returns when one more call has begun."""
        await self._begun.acquire()

    def release(self, calls: int = 1) -> None:
        self._gate.release(calls)


class Hooks:
    """Hooks that call the functions of a test."""

    def __init__(
        self, before: Callable[[], object], after: Callable[[Sequence[object], Sequence[object]], object]
    ) -> None:
        self._before = before
        self._after = after

    def before_batch(self) -> None:
        self._before()

    def after_batch(self, items: Sequence[object], results: Sequence[object]) -> None:
        self._after(items, results)


class Threads:
    """A CallQueue that runs its calls on several threads."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool

    def put(self, call: Callable[[Any], None], argument: Any) -> None:
        self._pool.submit(call, argument)


@pytest.fixture
def threads() -> Iterator[Threads]:
    with ThreadPoolExecutor(4, "writer") as pool:
        yield Threads(pool)


@asynccontextmanager
async def batching(
    threads: Threads,
    *,
    max_waiting: int = 100,
    max_batch: int = 100,
    max_sent: int = 1,
    before_batch: Callable[[], object] = lambda: None,
    after_batch: Callable[[Sequence[object], Sequence[object]], object] = lambda items, results: None,
) -> AsyncIterator[tuple[Batcher[int, int], GatedWork]]:
    work = GatedWork()
    hooks = Hooks(before_batch, after_batch)
    batcher = Batcher[int, int](
        threads, work, max_waiting=max_waiting, max_batch=max_batch, max_sent=max_sent, hooks=hooks
    )
    try:
        yield batcher, work
    finally:
        work.release(1_000)
    await batcher.close()


@pytest.mark.gen_test
async def test_items_that_arrive_in_one_iteration_of_the_loop_share_a_batch(threads: Threads) -> None:
    async with batching(threads) as (batcher, work):
        futures = [batcher.submit(item) for item in (3, 1, 2)]
        assert work.batches == []
        work.release()
        assert await asyncio.gather(*futures) == [6, 2, 4]
        assert work.batches == [[3, 1, 2]]


@pytest.mark.gen_test
async def test_a_single_item_is_sent_at_once(threads: Threads) -> None:
    async with batching(threads) as (batcher, work):
        for item in (1, 2):
            future = batcher.submit(item)
            await work.begun()
            work.release()
            assert await future == 2 * item
        assert work.batches == [[1], [2]]


@pytest.mark.gen_test
async def test_items_that_arrive_during_a_call_or_with_its_results_share_the_next_batch(threads: Threads) -> None:
    async with batching(threads) as (batcher, work):
        first = batcher.submit(1)
        await work.begun()
        others = [batcher.submit(item) for item in (2, 3)]
        work.release()
        assert await first == 2
        others.append(batcher.submit(4))
        await work.begun()
        assert work.batches == [[1], [2, 3, 4]]
        work.release()
        assert await asyncio.gather(*others) == [4, 6, 8]
        assert work.batches == [[1], [2, 3, 4]]


@pytest.mark.gen_test
async def test_one_call_runs_at_a_time_even_with_many_threads(threads: Threads) -> None:
    async with batching(threads, max_batch=1) as (batcher, work):
        futures = [batcher.submit(item) for item in range(20)]
        work.release(20)
        assert await asyncio.gather(*futures) == list(range(0, 40, 2))
        assert work.most_running == 1
        assert all(name.startswith("writer") for name in work.threads)


@pytest.mark.gen_test
async def test_a_batch_has_at_most_max_batch_items_and_the_rest_follow(threads: Threads) -> None:
    async with batching(threads, max_batch=3) as (batcher, work):
        futures = [batcher.submit(item) for item in range(8)]
        work.release(3)
        assert await asyncio.gather(*futures) == list(range(0, 16, 2))
        assert work.batches == [[0, 1, 2], [3, 4, 5], [6, 7]]


@pytest.mark.gen_test
async def test_each_of_several_equal_items_gets_a_result(threads: Threads) -> None:
    async with batching(threads) as (batcher, work):
        futures = [batcher.submit(item) for item in (5, 5, 5)]
        work.release()
        assert await asyncio.gather(*futures) == [10, 10, 10]
        assert work.batches == [[5, 5, 5]]


@pytest.mark.gen_test
async def test_an_exception_of_the_work_is_raised_to_its_batch_only(threads: Threads) -> None:
    async with batching(threads) as (batcher, work):
        work.error = KeyError("broken")
        futures = [batcher.submit(item) for item in (1, 2)]
        await work.begun()
        later = batcher.submit(3)
        work.release()
        assert await asyncio.gather(*futures, return_exceptions=True) == [work.error] * 2
        await work.begun()
        work.error = None
        work.release()
        assert await later == 6


@pytest.mark.gen_test
async def test_an_exception_as_a_result_is_raised_to_its_caller_only(threads: Threads) -> None:
    async with batching(threads) as (batcher, work):
        good, bad, also_good = (batcher.submit(item) for item in (1, -2, 3))
        work.release()
        assert (await good, await also_good) == (2, 6)
        with pytest.raises(ValueError, match="-2 is negative"):
            await bad


@pytest.mark.gen_test
async def test_an_item_cancelled_before_its_batch_is_not_sent(threads: Threads) -> None:
    async with batching(threads) as (batcher, work):
        first = batcher.submit(1)
        await work.begun()
        cancelled, kept = batcher.submit(2), batcher.submit(3)
        cancelled.cancel()
        work.release(2)
        assert (await first, await kept) == (2, 6)
        assert work.batches == [[1], [3]]


@pytest.mark.gen_test
async def test_a_batch_of_cancelled_items_is_not_sent(threads: Threads) -> None:
    async with batching(threads) as (batcher, work):
        batcher.submit(1).cancel()
        await batcher.close()
        assert work.batches == []
    async with batching(threads) as (batcher, work):
        batcher.submit(1).cancel()
        kept = batcher.submit(2)
        work.release()
        assert await kept == 4


@pytest.mark.gen_test
async def test_an_item_cancelled_during_its_call_does_not_affect_the_others(threads: Threads) -> None:
    async with batching(threads) as (batcher, work):
        cancelled, kept, bad = (batcher.submit(item) for item in (1, 2, -3))
        await work.begun()
        cancelled.cancel()
        bad.cancel()
        work.release()
        assert await kept == 4
        assert work.batches == [[1, 2, -3]]


@pytest.mark.gen_test
async def test_a_full_queue_raises_at_once_and_accepts_items_again_later(threads: Threads) -> None:
    async with batching(threads, max_waiting=3) as (batcher, work):
        first = batcher.submit(1)
        await work.begun()
        waiting = [batcher.submit(item) for item in (2, 3)]
        for _ in range(2):
            with pytest.raises(QueueFullError):
                batcher.submit(4)
        work.release()
        await first
        await work.begun()
        waiting.append(batcher.submit(5))
        work.release(2)
        assert await asyncio.gather(*waiting) == [4, 6, 10]
        assert work.batches == [[1], [2, 3], [5]]


@pytest.mark.gen_test
async def test_close_delivers_accepted_items_and_rejects_new_ones(threads: Threads) -> None:
    async with batching(threads, max_batch=1) as (batcher, work):
        futures = [batcher.submit(item) for item in (1, 2, 3)]
        await work.begun()
        closing = [asyncio.ensure_future(batcher.close()) for _ in range(2)]
        work.release(2)
        assert await asyncio.gather(*futures[:2]) == [2, 4]
        with pytest.raises(QueueClosedError):
            batcher.submit(4)
        assert not any(task.done() for task in closing)
        work.release()
        await asyncio.gather(*closing)
        assert futures[2].result() == 6
        await batcher.close()
        with pytest.raises(QueueClosedError):
            batcher.submit(5)


@pytest.mark.gen_test
async def test_close_of_an_unused_batcher_returns_at_once(threads: Threads) -> None:
    async with batching(threads) as (batcher, _):
        await batcher.close()


@pytest.mark.gen_test
async def test_after_batch_is_called_once_after_the_results_are_delivered(threads: Threads) -> None:
    seen: list[int] = []
    delivered: list[asyncio.Future[int]] = []
    async with batching(
        threads,
        max_batch=2,
        after_batch=lambda items, results: seen.append(sum(future.done() for future in delivered)),
    ) as (batcher, work):
        delivered += [batcher.submit(item) for item in (1, -2, 3)]
        work.release(2)
        await asyncio.gather(*delivered, return_exceptions=True)
        await batcher.close()
        assert seen == [2, 3]


@pytest.mark.gen_test
async def test_after_batch_is_called_after_a_failed_batch(threads: Threads) -> None:
    called = asyncio.Event()
    async with batching(threads, after_batch=lambda items, results: called.set()) as (batcher, work):
        work.error = KeyError("broken")
        future = batcher.submit(1)
        work.release()
        await called.wait()
        assert isinstance(future.exception(), KeyError)


@pytest.mark.gen_test
async def test_ten_thousand_items_get_their_own_results(threads: Threads, caplog: pytest.LogCaptureFixture) -> None:
    async with batching(threads, max_waiting=10_000, max_batch=1_000) as (batcher, work):
        futures = [batcher.submit(item) for item in range(10_000)]
        with pytest.raises(QueueFullError):
            batcher.submit(0)
        work.release(10)
        assert await asyncio.gather(*futures) == list(range(0, 20_000, 2))
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.gen_test
@pytest.mark.parametrize("results", [[], [1, 2, 3]])
async def test_a_wrong_number_of_results_is_an_error_for_that_batch_only(threads: Threads, results: list[int]) -> None:
    wrong = [results]
    batcher: Batcher[int, int] = Batcher(threads, lambda items: wrong.pop() if wrong else list(items), max_waiting=9)
    futures = [batcher.submit(1), batcher.submit(2)]
    for error in await asyncio.gather(*futures, return_exceptions=True):
        assert isinstance(error, RuntimeError)
    assert await batcher.submit(7) == 7


@pytest.mark.gen_test
async def test_even_if_full_adds_an_item_to_a_full_queue(threads: Threads) -> None:
    async with batching(threads, max_waiting=1) as (batcher, work):
        first = batcher.submit(1)
        with pytest.raises(QueueFullError):
            batcher.submit(2)
        second = batcher.submit(2, even_if_full=True)
        work.release(2)
        assert list(await asyncio.gather(first, second)) == [2, 4]


@pytest.mark.gen_test
async def test_a_batch_ends_when_the_sizes_of_its_items_reach_max_batch(threads: Threads) -> None:
    async with batching(threads, max_batch=5) as (batcher, work):
        futures = [batcher.submit(item, size=size) for item, size in enumerate((3, 2, 3, 3, 1, 1, 1, 9, 1), 1)]
        work.release(5)
        assert await asyncio.gather(*futures) == list(range(2, 20, 2))
        # The last item of a batch can make the batch larger than max_batch.
        assert work.batches == [[1, 2], [3, 4], [5, 6, 7, 8], [9]]


@pytest.mark.gen_test
async def test_full_batches_are_sent_while_a_call_runs(threads: Threads) -> None:
    async with batching(threads, max_batch=3, max_sent=3) as (batcher, work):
        futures = [batcher.submit(1)]
        await work.begun()
        futures += [batcher.submit(item) for item in (2, 3)]
        for _ in range(10):
            await next_loop_iteration()
        # The batch of 2 and 3 is not full.
        assert (work.batches, batcher.sent) == ([[1]], 1)
        futures.append(batcher.submit(4, first=True))
        await work.begun()
        futures += [batcher.submit(item, size=3) for item in (5, 6)]
        await work.begun()
        for _ in range(10):
            await next_loop_iteration()
        # The batch of 6 is full, but must wait.
        assert (work.batches, batcher.sent) == ([[1], [4, 2, 3], [5]], 3)
        work.release(4)
        assert await asyncio.gather(*futures) == [2, 4, 6, 8, 10, 12]
        assert (work.batches[3:], work.most_running) == ([[6]], 3)


@pytest.mark.gen_test
async def test_a_batch_that_is_not_full_waits_for_all_earlier_batches(threads: Threads) -> None:
    added: list[asyncio.Future[int]] = []
    async with batching(
        threads,
        max_batch=2,
        max_sent=2,
        before_batch=lambda: added.append(batcher.submit(9, first=True, even_if_full=True)),
    ) as (batcher, work):
        futures = [batcher.submit(1)]
        await work.begun()
        futures.append(batcher.submit(2, size=2))
        await work.begun()
        futures.append(batcher.submit(3))
        work.release()
        while batcher.sent > 1:
            await next_loop_iteration()
        for _ in range(10):
            await next_loop_iteration()
        assert work.batches == [[9, 1], [9, 2]]
        work.release(2)
        assert await asyncio.gather(*futures) == [2, 4, 6]
        assert await asyncio.gather(*added) == [18] * 3
        assert work.batches[2:] == [[9, 3]]
        assert batcher.sent == 0


@pytest.mark.gen_test
async def test_an_item_larger_than_max_batch_is_sent_alone(threads: Threads) -> None:
    async with batching(threads, max_batch=5) as (batcher, work):
        futures = [batcher.submit(item, size=50) for item in (1, 2)]
        work.release(2)
        assert await asyncio.gather(*futures) == [2, 4]
        assert work.batches == [[1], [2]]


@pytest.mark.gen_test
async def test_the_size_of_a_cancelled_item_does_not_count(threads: Threads) -> None:
    async with batching(threads, max_batch=5) as (batcher, work):
        cancelled, *kept = (batcher.submit(item, size=size) for item, size in ((1, 5), (2, 4), (3, 1)))
        cancelled.cancel()
        work.release()
        assert await asyncio.gather(*kept) == [4, 6]
        assert work.batches == [[2, 3]]


@pytest.mark.gen_test
async def test_an_item_of_any_size_takes_one_place_and_none_with_even_if_full(threads: Threads) -> None:
    async with batching(threads, max_waiting=2) as (batcher, work):
        futures = [batcher.submit(item, size=100, even_if_full=True) for item in (1, 2)]
        futures += [batcher.submit(item, size=100) for item in (3, 4)]
        with pytest.raises(QueueFullError):
            batcher.submit(5)
        work.release(4)
        assert await asyncio.gather(*futures) == [2, 4, 6, 8]


@pytest.mark.gen_test
async def test_an_item_with_first_is_sent_before_all_waiting_items(threads: Threads) -> None:
    async with batching(threads, max_batch=2) as (batcher, work):
        futures = [batcher.submit(1)]
        await work.begun()
        futures += [batcher.submit(item) for item in (2, 3)]
        futures.append(batcher.submit(4, first=True))
        work.release(3)
        assert await asyncio.gather(*futures) == [2, 4, 6, 8]
        assert work.batches == [[1], [4, 2], [3]]


@pytest.mark.gen_test
async def test_an_item_submitted_first_in_before_batch_joins_the_batch(threads: Threads) -> None:
    added: list[asyncio.Future[int]] = []
    async with batching(
        threads, max_batch=2, before_batch=lambda: added.append(batcher.submit(9, first=True, even_if_full=True))
    ) as (batcher, work):
        futures = [batcher.submit(item) for item in (1, 2, 3)]
        work.release(10)
        await asyncio.gather(*futures)
        await asyncio.gather(*added)
        # Each batch has one added item and one submitted item.
        assert work.batches == [[9, 1], [9, 2], [9, 3]]


@pytest.mark.gen_test
async def test_before_batch_is_not_called_after_close(threads: Threads) -> None:
    called: list[None] = []
    async with batching(threads, max_batch=1, before_batch=lambda: called.append(None)) as (batcher, work):
        futures = [batcher.submit(item) for item in (1, 2)]
        await work.begun()
        closing = asyncio.ensure_future(batcher.close())
        await asyncio.sleep(0)
        work.release(2)
        await asyncio.gather(closing, *futures)
        assert called == [None]


class Waiting:
    """A waiter that raises an error when it is given a result."""

    def cancelled(self) -> bool:
        return False

    def set_result(self, result: int) -> None:
        raise RuntimeError("a bug")

    def set_exception(self, exception: BaseException) -> None:
        raise RuntimeError("a bug")


@pytest.mark.gen_test
async def test_a_waiter_that_raises_does_not_affect_the_others(
    threads: Threads, caplog: pytest.LogCaptureFixture
) -> None:
    async with batching(threads) as (batcher, work):
        first = batcher.submit(1)
        batcher.submit_for(2, Waiting())
        last = batcher.submit(3)
        await work.begun()
        work.release()
        assert [await first, await last] == [2, 6]
        again = batcher.submit(4)
        await work.begun()
        work.release()
        assert await again == 8
    assert [record.getMessage() for record in caplog.records] == ["a result could not be delivered"]


@pytest.mark.gen_test
async def test_a_hook_that_raises_is_logged_and_batches_go_on(
    threads: Threads, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError("a hook")

    async with batching(threads, before_batch=fail, after_batch=fail) as (batcher, work):
        work.release(3)
        for item in (1, 2, 3):
            assert await batcher.submit(item) == 2 * item
    assert [record.exc_info is not None for record in caplog.records] == [True] * 6


def test_a_batch_that_ends_after_its_event_loop_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    goes_on = threading.Event()

    def work(items: Sequence[int]) -> list[int | Exception]:
        goes_on.wait(DEADLINE_S)
        return list(items)

    async def submit(thread: CallThread) -> None:
        batcher = Batcher[int, int](thread, work, max_waiting=1)
        batcher.submit(1)
        for _ in range(5):
            await asyncio.sleep(0)

    with contextlib.closing(CallThread("writer")) as thread:
        asyncio.run(submit(thread))
        goes_on.set()
        assert asyncio.run(thread.run(lambda: "next call")) == "next call"
    assert caplog.records == []
