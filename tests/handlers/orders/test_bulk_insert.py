"""BulkInsert: groups, errors of the storage, and how long it blocks the event loop."""

import asyncio
from collections.abc import Sequence
from itertools import count, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.metrics.instruments import Instruments
from handlers.orders.bulk_insert import ORDERS_FREED_PER_STEP, BulkInsert
from handlers.orders.bulk_view import BulkView
from handlers.orders.time_slices import TimeSlices
from models.errors import OrderConflictError
from models.parsing.lines import Lines
from models.writes.insertion import Insertion, InsertResult, NewOrder
from tests.examples import examples
from tests.handlers.orders.bulk_requests import text
from tests.handlers.running_api import fake_service, turn_of_the_loop
from tests.models.samples import Clock

ITERATIONS_A_TURN = 2
"""`turn_of_the_loop` returns in the second iteration of the event loop after its call."""


class FakeStore:
    """Stores groups of orders in memory, and returns what the real store would return."""

    def __init__(self) -> None:
        self._stored: dict[int, NewOrder] = {}

    async def insert_many(self, orders: list[NewOrder]) -> list[InsertResult]:
        await asyncio.sleep(0)
        return [self._insert(order) for order in orders]

    def _insert(self, order: NewOrder) -> InsertResult:
        first = self._stored.setdefault(order.order_id, order)
        if first is order:
            return Insertion.ACCEPTED
        return Insertion.REPLAYED if first == order else OrderConflictError(order.order_id)


def slices(*, slice_s: float = 1.0) -> TimeSlices:
    """Time slices with a clock that advances by a second at each call."""
    seconds = count()
    return TimeSlices(clock=lambda: float(next(seconds)), slice_s=slice_s)


async def insert_stream(parts: Sequence[bytes]) -> BulkView:
    bulk = BulkInsert(
        service=fake_service(insert_many=FakeStore().insert_many),
        group_slots=asyncio.Semaphore(2),
        slices=slices(),
        instruments=Instruments(clock=Clock()),
    )
    lines = Lines()
    for part in parts:
        await bulk.add_lines(lines.add(part))
    await bulk.add_lines(lines.end())
    return await bulk.finish()


PIECES = st.sampled_from(
    [text(1), text(1, user_id="2"), text(2), text(2, user_id="0"), text(3), b"\n", b"\n", b"\r\n", b"\xff", b"\n\n{}\n"]
)


@settings(max_examples=examples(50))
@given(pieces=st.lists(PIECES, max_size=30), cuts=st.lists(st.integers(0, 2_000), max_size=30))
def test_the_result_of_a_stream_does_not_depend_on_its_chunks(pieces: list[bytes], cuts: list[int]) -> None:
    whole = b"".join(pieces)
    ends = sorted({0, len(whole), *(min(cut, len(whole)) for cut in cuts)})
    parts = [whole[begin:end] for begin, end in pairwise(ends)]
    assert asyncio.run(insert_stream(parts)) == asyncio.run(insert_stream([whole]))


@pytest.mark.gen_test
async def test_after_a_storage_error_no_further_group_is_written() -> None:
    begun: list[list[int]] = []
    results: list[asyncio.Future[list[Any]]] = [asyncio.get_running_loop().create_future() for _ in range(2)]

    async def insert_many(orders: list[NewOrder]) -> list[InsertResult]:
        begun.append([order.order_id for order in orders])
        return await results[len(begun) - 1]

    bulk = BulkInsert(
        service=fake_service(insert_many=insert_many),
        group_slots=asyncio.Semaphore(2),
        slices=slices(),
        instruments=Instruments(clock=Clock()),
    )
    await bulk.add([(0, text(1))])
    adding = asyncio.ensure_future(bulk.add([(1, text(2))]))
    while len(begun) < 2:
        await turn_of_the_loop()
    results[0].set_exception(OSError("broken"))
    with pytest.raises(OSError, match="broken"):
        await adding
    with pytest.raises(OSError, match="broken"):
        await bulk.add([(2, text(3))])
    results[1].set_result([Insertion.ACCEPTED])
    with pytest.raises(OSError, match="broken"):
        await bulk.finish()
    assert (begun, bulk.view.accepted) == ([[1], [2]], 1)


def start_to_add(
    orders: Sequence[tuple[int, NewOrder | bytes]], *, slice_s: float
) -> tuple[BulkInsert, "asyncio.Future[None]"]:
    bulk = BulkInsert(
        service=fake_service(insert_many=FakeStore().insert_many),
        group_slots=asyncio.Semaphore(2),
        slices=slices(slice_s=slice_s),
        instruments=Instruments(clock=Clock()),
    )
    return bulk, asyncio.ensure_future(bulk.add(orders))


async def turns_until(done: "asyncio.Future[Any]") -> int:
    turns = 0
    while not done.done():
        await turn_of_the_loop()
        turns += 1
    return turns


@pytest.mark.gen_test
@pytest.mark.parametrize("slice_s", [1.0, 10.0])
async def test_parsing_does_not_block_the_event_loop(slice_s: float) -> None:
    # By the clock of this test, each step takes a second. Each of these orders takes at least two steps.
    orders = 100
    long = text(1, total_amount='"1"', metadata='{"a": "%s"}' % ("x" * 16_000))
    bulk, adding = start_to_add([(number, long) for number in range(orders)], slice_s=slice_s)
    assert await turns_until(adding) >= 2 * orders / slice_s / ITERATIONS_A_TURN
    assert (await bulk.finish()).duplicates == orders - 1


@pytest.mark.gen_test
async def test_short_orders_are_parsed_without_a_pause() -> None:
    bulk, adding = start_to_add([(number, text(1)) for number in range(100)], slice_s=10.0)
    assert await turns_until(adding) < 10
    assert (await bulk.finish()).duplicates == 99


@pytest.mark.gen_test
async def test_long_lists_of_items_are_freed_in_steps() -> None:
    orders = [(number, NewOrder(number, 1, [1], 1)) for number in range(1_000)]
    bulk, adding = start_to_add(orders, slice_s=1.0)
    await adding
    finishing = asyncio.ensure_future(bulk.finish())
    assert await turns_until(finishing) >= 1_000 / ORDERS_FREED_PER_STEP / ITERATIONS_A_TURN
    assert finishing.result().accepted == 1_000
