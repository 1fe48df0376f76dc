"""Which calls of the processor become overdue, and when."""

import asyncio
from collections.abc import Sequence

import pytest

from models.order import Order
from tests.models.samples import claimed_order, new_order
from workers.dispatch.running_calls import RunningCalls

TIMEOUT_S = 0.01


class Calls:
    """Running calls, and the orders that were given up."""

    def __init__(self, timeout_s: float | None) -> None:
        self._changed = asyncio.Event()
        self.given_up: list[int] = []
        self.running = RunningCalls(timeout_s=timeout_s, give_up=self._give_up)

    def _give_up(self, orders: Sequence[Order]) -> None:
        self.given_up += [order.order_id for order in orders]
        self._changed.set()

    def begin(self, *order_ids: int) -> int:
        return self.running.begin([claimed_order(new_order(order_id), order_id, 0) for order_id in order_ids])

    async def until_given_up(self, *order_ids: int) -> None:
        while self.given_up != list(order_ids):
            await self._changed.wait()
            self._changed.clear()


@pytest.mark.gen_test
async def test_calls_that_have_not_returned_are_given_up_in_order() -> None:
    calls = Calls(TIMEOUT_S)
    first, second, third = calls.begin(1), calls.begin(2), calls.begin(3, 4)
    calls.running.end(second)
    assert (calls.running.in_time, calls.running.overdue) == (2, 0)
    await calls.until_given_up(1, 3, 4)
    assert (calls.running.in_time, calls.running.overdue) == (0, 2)
    for number in (first, third):
        calls.running.end(number)
    assert (calls.running.in_time, calls.running.overdue) == (0, 0)


@pytest.mark.gen_test
async def test_a_later_call_is_given_up_after_its_own_time() -> None:
    calls = Calls(TIMEOUT_S)
    loop = asyncio.get_running_loop()
    calls.running.end(calls.begin(1))
    for order_id in (2, 3):
        begun_s = loop.time()
        calls.begin(order_id)
        await calls.until_given_up(*range(2, order_id + 1))
        assert loop.time() - begun_s >= TIMEOUT_S


@pytest.mark.gen_test
async def test_nothing_is_given_up_after_close() -> None:
    closed, other = Calls(TIMEOUT_S), Calls(TIMEOUT_S)
    closed.begin(1)
    closed.running.close()
    closed.running.close()
    other.begin(2)  # begun later, so its time-out ends later
    await other.until_given_up(2)
    assert closed.given_up == []


@pytest.mark.gen_test
async def test_without_a_time_out_no_call_becomes_overdue() -> None:
    calls, other = Calls(None), Calls(TIMEOUT_S)
    number = calls.begin(1)
    other.begin(2)
    await other.until_given_up(2)
    assert (calls.given_up, calls.running.in_time, calls.running.overdue) == ([], 1, 0)
    calls.running.end(number)
    assert calls.running.in_time == 0
