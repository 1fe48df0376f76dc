"""How orders get in, one by one and in groups, with a real thread whose work goes on only when the test says so."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest

from models.errors import OrderConflictError, QueueClosedError, QueueFullError, StorageBusyError
from models.writes import AnyWrite, Insertion, InsertResult, NewOrder, NewOrders, WriteResult
from tests.handlers.service import turn_of_the_loop
from tests.models.samples import new_order
from workers.batcher import WriteBatcher
from workers.intake import GROUPS_BETWEEN_CLAIMS, MAX_GROUPS, Intake


class GatedStore:
    """Remembers the ids of each batch, those of a group as a list, and accepts all but those that it has."""

    def __init__(self) -> None:
        self.batches: list[list[int | list[int]]] = []
        self.ids: set[int] = set()
        self.error: Exception | None = None
        self._gate = threading.Semaphore(0)

    def write(self, batch: Sequence[AnyWrite]) -> list[WriteResult]:
        self.batches.append([_ids_of(wish) for wish in batch])
        self._gate.acquire()
        if self.error:
            raise self.error
        return [self._insert_all(wish) for wish in batch]

    def let_through(self, calls: int = 1) -> None:
        self._gate.release(calls)

    def _insert_all(self, wish: AnyWrite) -> WriteResult:
        if isinstance(wish, NewOrders):
            return [self._insert(order) for order in wish.orders]
        assert isinstance(wish, NewOrder)
        return self._insert(wish)

    def _insert(self, order: NewOrder) -> InsertResult:
        if order.order_id in self.ids:
            return OrderConflictError(order.order_id)
        self.ids.add(order.order_id)
        return Insertion.ACCEPTED


def _ids_of(wish: AnyWrite) -> int | list[int]:
    if isinstance(wish, NewOrders):
        return [order.order_id for order in wish.orders]
    assert isinstance(wish, NewOrder)
    return wish.order_id


class Opened:
    """An intake, the store behind it, and how many orders that store calls Pending."""

    def __init__(self, executor: ThreadPoolExecutor, *, max_waiting: int, max_backlog: int) -> None:
        self.store = GatedStore()
        self.pending = 0
        self.writes = WriteBatcher(executor, self.store.write, max_waiting=max_waiting)
        self.intake = Intake(writes=self.writes, backlog=self, max_backlog=max_backlog)

    def insert_many(self, *order_ids: int) -> "asyncio.Task[list[InsertResult]]":
        return asyncio.create_task(self.intake.insert_many([new_order(order_id) for order_id in order_ids]))

    async def until_batches(self, count: int) -> None:
        """Returns when so many batches have begun, and everything that is ready has run."""
        while len(self.store.batches) < count:
            await turn_of_the_loop()
        await turn_of_the_loop()


@asynccontextmanager
async def opened(*, max_waiting: int = 100, max_backlog: int = 100) -> AsyncIterator[Opened]:
    with ThreadPoolExecutor(1, "writer") as executor:
        opened = Opened(executor, max_waiting=max_waiting, max_backlog=max_backlog)
        try:
            yield opened
        finally:
            opened.store.let_through(1_000)
        await opened.writes.close()


@pytest.mark.gen_test
async def test_each_order_has_its_own_result_whether_it_came_alone_or_not() -> None:
    async with opened() as on:
        on.store.ids = {2, 4}
        alone, known = on.intake.insert(new_order(1)), on.intake.insert(new_order(2))
        group = on.insert_many(3, 4)
        on.store.let_through(2)
        assert await alone is Insertion.ACCEPTED
        with pytest.raises(OrderConflictError):
            await known
        accepted, conflict = await group
        assert accepted is Insertion.ACCEPTED
        assert isinstance(conflict, OrderConflictError)


@pytest.mark.gen_test
async def test_a_group_may_wait_while_another_one_is_written_and_further_ones_wait_outside() -> None:
    async with opened() as on:
        groups = [on.insert_many(each) for each in range(1, 2 * MAX_GROUPS + 1)]
        await on.until_batches(1)
        assert on.store.batches == [[[each] for each in range(1, MAX_GROUPS + 1)]]
        on.store.let_through()
        await asyncio.gather(*groups[:MAX_GROUPS])
        await on.until_batches(2)
        assert not any(group.done() for group in groups[MAX_GROUPS:])
        on.store.let_through(2)
        await asyncio.gather(*groups)
        in_order = [[each] for each in range(1, 2 * MAX_GROUPS + 1)]
        assert [wish for batch in on.store.batches for wish in batch] == in_order


@pytest.mark.gen_test
async def test_a_group_is_written_as_a_whole_and_counts_by_its_orders() -> None:
    async with opened() as on:
        first = on.intake.insert(new_order(1))
        await on.until_batches(1)
        # The first group fills a batch.
        groups = [on.insert_many(*range(10, 1_010)), on.insert_many(*range(2_000, 2_010))]
        await turn_of_the_loop()
        last = on.intake.insert(new_order(2))
        on.store.let_through(3)
        await asyncio.gather(first, last, *groups)
        assert on.store.batches == [[1], [list(range(10, 1_010))], [list(range(2_000, 2_010)), 2]]


@pytest.mark.gen_test
async def test_an_order_that_comes_alone_waits_for_no_group_but_those_that_are_before_it() -> None:
    async with opened(max_waiting=1) as on:
        groups = [on.insert_many(each) for each in range(10, 20)]
        await on.until_batches(1)
        # Groups have taken no place.
        alone = on.intake.insert(new_order(1))
        with pytest.raises(QueueFullError):
            on.intake.insert(new_order(2))
        on.store.let_through(2)
        assert await alone is Insertion.ACCEPTED
        assert sum(group.done() for group in groups) <= 2 * MAX_GROUPS
        on.store.let_through(10)
        await asyncio.gather(*groups)


@pytest.mark.gen_test
async def test_at_the_backlogs_limit_orders_are_refused_at_once_and_taken_when_it_has_shrunk() -> None:
    async with opened(max_backlog=3) as on:
        on.pending = 3
        for _ in range(2):
            with pytest.raises(QueueFullError):
                on.intake.insert(new_order(1))
            with pytest.raises(QueueFullError):
                await on.insert_many(2, 3)
        await turn_of_the_loop()
        assert on.store.batches == []
        on.pending = 2
        on.store.let_through(2)
        assert await on.intake.insert(new_order(1)) is Insertion.ACCEPTED
        assert await on.insert_many(2, 3) == [Insertion.ACCEPTED] * 2


@pytest.mark.gen_test
async def test_a_group_that_has_waited_for_room_is_refused_if_the_backlog_has_become_full_meanwhile() -> None:
    async with opened(max_backlog=3) as on:
        groups = [on.insert_many(each) for each in range(1, MAX_GROUPS + 2)]
        await on.until_batches(1)
        on.pending = 3
        on.store.let_through()
        with pytest.raises(QueueFullError):
            await groups.pop()
        assert await asyncio.gather(*groups) == [[Insertion.ACCEPTED]] * MAX_GROUPS
        assert on.store.ids == set(range(1, MAX_GROUPS + 1))


@pytest.mark.gen_test
async def test_an_error_of_the_storage_is_raised_for_each_group_and_makes_room_for_the_next() -> None:
    async with opened() as on:
        on.store.error = StorageBusyError("locked")
        groups = [on.insert_many(each) for each in range(1, 2 * MAX_GROUPS + 1)]
        on.store.let_through(2)
        assert await asyncio.gather(*groups, return_exceptions=True) == [on.store.error] * len(groups)
        on.store.error = None
        on.store.let_through()
        assert await on.insert_many(1) == [Insertion.ACCEPTED]


@pytest.mark.gen_test
async def test_groups_that_are_given_up_make_room() -> None:
    async with opened() as on:
        first = on.intake.insert(new_order(1))
        await on.until_batches(1)
        given_up = [on.insert_many(each) for each in range(10, 15)]
        await turn_of_the_loop()
        for group in given_up:
            group.cancel()
        kept = on.insert_many(20)
        on.store.let_through(2)
        assert await kept == [Insertion.ACCEPTED]
        assert await first is Insertion.ACCEPTED
        assert on.store.batches == [[1], [[20]]]


@pytest.mark.gen_test
async def test_a_stop_refuses_what_waits_outside_and_writes_the_rest() -> None:
    async with opened() as on:
        groups = [on.insert_many(each) for each in range(1, MAX_GROUPS + 2)]
        await on.until_batches(1)
        closing = asyncio.ensure_future(on.writes.close())
        await turn_of_the_loop()
        on.store.let_through()
        await closing
        with pytest.raises(QueueClosedError):
            await groups.pop()
        assert await asyncio.gather(*groups) == [[Insertion.ACCEPTED]] * MAX_GROUPS
        with pytest.raises(QueueClosedError):
            on.intake.insert(new_order(9))


@pytest.mark.gen_test
async def test_without_a_flood_there_is_always_a_gap() -> None:
    async with opened() as on:
        await on.intake.wait_for_low_load()
        alone = on.insert_many(1)
        await on.until_batches(1)
        assert not on.intake.is_under_high_load
        await on.intake.wait_for_low_load()
        on.store.let_through()
        await alone


@pytest.mark.gen_test
async def test_in_a_flood_a_gap_comes_after_some_groups_and_at_its_end() -> None:
    async with opened() as on:
        groups = [on.insert_many(each) for each in range(1, 4 * GROUPS_BETWEEN_CLAIMS)]
        await on.until_batches(1)
        assert on.intake.is_under_high_load
        for _ in range(2):
            done = sum(group.done() for group in groups)
            gap = asyncio.ensure_future(on.intake.wait_for_low_load())
            await turn_of_the_loop()
            assert not gap.done()
            on.store.let_through(GROUPS_BETWEEN_CLAIMS)
            await gap
            assert sum(group.done() for group in groups) >= done + GROUPS_BETWEEN_CLAIMS - 1
        gap = asyncio.ensure_future(on.intake.wait_for_low_load())
        on.store.let_through(4 * GROUPS_BETWEEN_CLAIMS)
        await asyncio.gather(gap, *groups)
        assert not on.intake.is_under_high_load
