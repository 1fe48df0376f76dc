"""Intake of single orders and groups. The store runs on a real thread and waits until the test releases it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing

import pytest

from models.errors import OrderConflictError, QueueClosedError, QueueFullError, StorageBusyError
from models.writes.insertion import Insertion, InsertResult, NewOrder, NewOrders
from models.writes.result import WriteResult
from models.writes.write import AnyWrite
from tests.models.samples import new_order
from tests.workers.event_loop import next_loop_iteration
from workers.batcher import WriteBatcher
from workers.call_thread import CallThread
from workers.intake import GROUPS_BETWEEN_CLAIMS, MAX_GROUPS, Intake

MAX_BATCH = 1_000


class GatedStore:
    """Accepts each id once. Each write waits for `release`. `batches` has the ids of each batch; a group has a list."""

    def __init__(self) -> None:
        self.batches: list[list[int | list[int]]] = []
        self.ids: set[int] = set()
        self.error: Exception | None = None
        self._gate = threading.Semaphore(0)

    def write(self, batch: Sequence[AnyWrite]) -> list[WriteResult]:
        self.batches.append([_ids_of(write) for write in batch])
        self._gate.acquire()
        if self.error:
            raise self.error
        return [self._insert_all(write) for write in batch]

    def release(self, calls: int = 1) -> None:
        self._gate.release(calls)

    def _insert_all(self, write: AnyWrite) -> WriteResult:
        if isinstance(write, NewOrders):
            return [self._insert(order) for order in write.orders]
        assert isinstance(write, NewOrder)
        return self._insert(write)

    def _insert(self, order: NewOrder) -> InsertResult:
        if order.order_id in self.ids:
            return OrderConflictError(order.order_id)
        self.ids.add(order.order_id)
        return Insertion.ACCEPTED


def _ids_of(write: AnyWrite) -> int | list[int]:
    if isinstance(write, NewOrders):
        return [order.order_id for order in write.orders]
    assert isinstance(write, NewOrder)
    return write.order_id


class Opened:
    """An intake with its store."""

    def __init__(self, thread: CallThread, *, max_waiting: int, max_sent: int) -> None:
        self.store = GatedStore()
        self.writes = WriteBatcher(
            thread, self.store.write, max_waiting=max_waiting, max_batch=MAX_BATCH, max_sent=max_sent
        )
        self.intake = Intake(writes=self.writes)

    def insert_many(self, *order_ids: int) -> "asyncio.Task[list[InsertResult]]":
        return asyncio.create_task(self.intake.insert_many([new_order(order_id) for order_id in order_ids]))

    async def until_batches(self, count: int) -> None:
        """Returns when this number of batches has begun and all ready callbacks have run."""
        while len(self.store.batches) < count:
            await next_loop_iteration()
        await next_loop_iteration()


@asynccontextmanager
async def opened(*, max_waiting: int = 100, max_sent: int = 1) -> AsyncIterator[Opened]:
    with closing(CallThread("writer")) as thread:
        opened = Opened(thread, max_waiting=max_waiting, max_sent=max_sent)
        try:
            yield opened
        finally:
            opened.store.release(1_000)
        await opened.writes.close()


@pytest.mark.gen_test
async def test_single_and_grouped_orders_each_get_their_own_result() -> None:
    async with opened() as on:
        on.store.ids = {2, 4}
        alone, known = on.intake.insert(new_order(1)), on.intake.insert(new_order(2))
        group = on.insert_many(3, 4)
        on.store.release(2)
        assert await alone is Insertion.ACCEPTED
        with pytest.raises(OrderConflictError):
            await known
        accepted, conflict = await group
        assert accepted is Insertion.ACCEPTED
        assert isinstance(conflict, OrderConflictError)


@pytest.mark.gen_test
async def test_at_most_max_groups_groups_are_in_the_queue() -> None:
    async with opened() as on:
        groups = [on.insert_many(each) for each in range(1, 2 * MAX_GROUPS + 1)]
        await on.until_batches(1)
        assert on.store.batches == [[[each] for each in range(1, MAX_GROUPS + 1)]]
        on.store.release()
        await asyncio.gather(*groups[:MAX_GROUPS])
        await on.until_batches(2)
        assert not any(group.done() for group in groups[MAX_GROUPS:])
        on.store.release(2)
        await asyncio.gather(*groups)
        in_order = [[each] for each in range(1, 2 * MAX_GROUPS + 1)]
        assert [write for batch in on.store.batches for write in batch] == in_order


@pytest.mark.gen_test
async def test_a_group_is_written_whole_and_its_orders_count_towards_max_batch() -> None:
    async with opened() as on:
        first = on.intake.insert(new_order(1))
        await on.until_batches(1)
        # The first group fills a batch.
        groups = [on.insert_many(*range(10, 1_010)), on.insert_many(*range(2_000, 2_010))]
        await next_loop_iteration()
        last = on.intake.insert(new_order(2))
        on.store.release(3)
        await asyncio.gather(first, last, *groups)
        assert on.store.batches == [[1], [list(range(10, 1_010))], [list(range(2_000, 2_010)), 2]]


@pytest.mark.gen_test
async def test_a_single_order_waits_only_for_the_groups_already_in_the_queue() -> None:
    async with opened(max_waiting=1) as on:
        groups = [on.insert_many(each) for each in range(10, 20)]
        await on.until_batches(1)
        # Groups do not take up places in the queue.
        alone = on.intake.insert(new_order(1))
        with pytest.raises(QueueFullError):
            on.intake.insert(new_order(2))
        on.store.release(2)
        assert await alone is Insertion.ACCEPTED
        assert sum(group.done() for group in groups) <= 2 * MAX_GROUPS
        on.store.release(10)
        await asyncio.gather(*groups)


@pytest.mark.gen_test
async def test_a_storage_error_is_raised_to_each_group_and_frees_its_place() -> None:
    async with opened() as on:
        on.store.error = StorageBusyError("locked")
        groups = [on.insert_many(each) for each in range(1, 2 * MAX_GROUPS + 1)]
        on.store.release(2)
        assert await asyncio.gather(*groups, return_exceptions=True) == [on.store.error] * len(groups)
        on.store.error = None
        on.store.release()
        assert await on.insert_many(1) == [Insertion.ACCEPTED]


@pytest.mark.gen_test
async def test_cancelled_groups_free_their_places() -> None:
    async with opened() as on:
        first = on.intake.insert(new_order(1))
        await on.until_batches(1)
        cancelled = [on.insert_many(each) for each in range(10, 15)]
        await next_loop_iteration()
        for group in cancelled:
            group.cancel()
        kept = on.insert_many(20)
        on.store.release(2)
        assert await kept == [Insertion.ACCEPTED]
        assert await first is Insertion.ACCEPTED
        assert on.store.batches == [[1], [[20]]]


@pytest.mark.gen_test
async def test_close_writes_queued_groups_and_rejects_waiting_groups() -> None:
    async with opened() as on:
        groups = [on.insert_many(each) for each in range(1, MAX_GROUPS + 2)]
        await on.until_batches(1)
        closing = asyncio.ensure_future(on.writes.close())
        await next_loop_iteration()
        on.store.release()
        await closing
        with pytest.raises(QueueClosedError):
            await groups.pop()
        assert await asyncio.gather(*groups) == [[Insertion.ACCEPTED]] * MAX_GROUPS
        with pytest.raises(QueueClosedError):
            on.intake.insert(new_order(9))


@pytest.mark.gen_test
async def test_wait_for_low_load_returns_at_once_under_low_load() -> None:
    async with opened() as on:
        await on.intake.wait_for_low_load()
        alone = on.insert_many(1)
        await on.until_batches(1)
        assert not on.intake.is_under_high_load
        await on.intake.wait_for_low_load()
        on.store.release()
        await alone


@pytest.mark.gen_test
async def test_a_group_that_was_sent_ahead_is_no_high_load() -> None:
    async with opened(max_sent=2) as on:
        groups = [on.insert_many(1)]
        await on.until_batches(1)
        groups.append(on.insert_many(*range(10, 10 + MAX_BATCH)))
        while on.writes.sent < 2:
            await next_loop_iteration()
        assert not on.intake.is_under_high_load
        groups += [on.insert_many(each) for each in (2, 3)]
        await next_loop_iteration()
        assert on.intake.is_under_high_load
        on.store.release(3)
        await asyncio.gather(*groups)


@pytest.mark.gen_test
async def test_under_high_load_wait_for_low_load_returns_after_some_groups() -> None:
    async with opened() as on:
        groups = [on.insert_many(each) for each in range(1, 4 * GROUPS_BETWEEN_CLAIMS)]
        await on.until_batches(1)
        assert on.intake.is_under_high_load
        for _ in range(2):
            done = sum(group.done() for group in groups)
            waiting = asyncio.ensure_future(on.intake.wait_for_low_load())
            await next_loop_iteration()
            assert not waiting.done()
            on.store.release(GROUPS_BETWEEN_CLAIMS)
            await waiting
            assert sum(group.done() for group in groups) >= done + GROUPS_BETWEEN_CLAIMS - 1
        waiting = asyncio.ensure_future(on.intake.wait_for_low_load())
        on.store.release(4 * GROUPS_BETWEEN_CLAIMS)
        await asyncio.gather(waiting, *groups)
        assert not on.intake.is_under_high_load
