"""BulkInsert: groups, errors of the storage, and its use of the event loop."""

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.metrics.instruments import Instruments
from handlers.orders.bulk_insert import PARSE_STEP_BYTES, BulkInsert
from handlers.orders.bulk_view import BulkView
from models.errors import OrderConflictError
from models.parsing.bulk import Lines
from models.writes import Insertion, InsertResult, NewOrder
from tests.handlers.orders.bulk_requests import text
from tests.handlers.running_api import fake_service, turn_of_the_loop
from tests.models.samples import Clock


class FakeStore:
    """Stores groups of orders in memory, with the results of the real store."""

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


async def insert_stream(parts: Sequence[bytes]) -> BulkView:
    bulk = BulkInsert(
        service=fake_service(insert_many=FakeStore().insert_many),
        group_slots=asyncio.Semaphore(2),
        instruments=Instruments(clock=Clock()),
    )
    lines = Lines()
    for part in parts:
        await bulk.add(lines.add(part))
    await bulk.add(lines.end())
    return await bulk.finish()


PIECES = st.sampled_from(
    [text(1), text(1, user_id="2"), text(2), text(2, user_id="0"), text(3), b"\n", b"\n", b"\r\n", b"\xff", b"\n\n{}\n"]
)


@settings(max_examples=50, deadline=None)
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


@pytest.mark.gen_test
async def test_parsing_long_orders_does_not_block_the_event_loop() -> None:
    store = FakeStore()
    bulk = BulkInsert(
        service=fake_service(insert_many=store.insert_many),
        group_slots=asyncio.Semaphore(2),
        instruments=Instruments(clock=Clock()),
    )
    long = text(1, metadata='{"a": "%s"}' % ("x" * 16_000))
    adding = asyncio.ensure_future(bulk.add([(number, long) for number in range(100)]))
    turns = 0
    while not adding.done():
        await turn_of_the_loop()
        turns += 1
    assert turns >= 100 * len(long) // PARSE_STEP_BYTES // 3
    assert (await bulk.finish()).duplicates == 99
