"""Feeding a server with orders, and the responses that end it."""

import time

import pytest

from load.fill.command import FillFailed, OrderFeeder, count_orders
from load.http.address import Address, ServerUrl, reach
from tests.load.shop import Shop


async def _feeding(shop: Shop, *, first_id: int = 1, count: int) -> OrderFeeder:
    return OrderFeeder(await _address(shop), first_id=first_id, count=count, clock_ns=time.perf_counter_ns)


async def _address(shop: Shop) -> Address:
    return await reach(ServerUrl.parse(shop.url), timeout_s=5)


@pytest.mark.gen_test
async def test_orders_are_sent_in_arrays_of_a_thousand(shop: Shop) -> None:
    feeding = await _feeding(shop, count=2_500)
    await feeding.send()
    assert sorted(shop.sizes) == [500, 1_000, 1_000]
    assert feeding.taken == 2_500


@pytest.mark.gen_test
async def test_orders_that_are_there_already_count_as_taken(shop: Shop) -> None:
    await (await _feeding(shop, count=30)).send()
    again = await _feeding(shop, first_id=21, count=20)
    await again.send()
    assert again.taken == 20


@pytest.mark.gen_test
async def test_no_orders_send_no_request(shop: Shop) -> None:
    await (await _feeding(shop, count=0)).send()
    assert shop.sizes == []


@pytest.mark.gen_test
async def test_a_refused_order_ends_the_feeding(shop: Shop) -> None:
    shop.refusals = {1_500: 409}
    feeding = await _feeding(shop, count=20_000)
    with pytest.raises(FillFailed, match="POST /orders: 999 accepted of 1000"):
        await feeding.send()
    assert len(shop.sizes) < 20


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "text", [b"{}", b"\xff", b'{"accepted": 9, "duplicates": 0, "rejected": [], "rejected_total": 0}']
)
async def test_a_202_that_does_not_count_every_order_ends_the_feeding(shop: Shop, text: bytes) -> None:
    shop.answer_to_many = text
    with pytest.raises(FillFailed, match=r"POST /orders: (a 202 that does not count the orders|9 accepted of 10)"):
        await (await _feeding(shop, count=10)).send()


@pytest.mark.gen_test
async def test_a_refused_array_ends_the_feeding(shop: Shop) -> None:
    shop.refusals = dict.fromkeys(range(1, 11), 409)
    with pytest.raises(FillFailed, match="POST /orders: status 422"):
        await (await _feeding(shop, count=10)).send()


@pytest.mark.gen_test
async def test_orders_in_any_status_are_counted(shop: Shop) -> None:
    shop.waiting = [7]
    assert await count_orders(await _address(shop)) == 7
