"""Long work shares the event loop: how much of it runs in one turn, by a clock that the work itself moves."""

import asyncio

import pytest

from handlers.orders.time_slices import TimeSlices
from models.parsing.steps import Steps


class Work:
    """Steps that take `step_s` each by `now_s`, and note the turn of the loop in which they run."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.turn = 0
        self.turns: list[tuple[str, int]] = []
        self._is_counting = True

    def clock(self) -> float:
        return self.now_s

    async def count_turns(self) -> None:
        while self._is_counting:
            self.turn += 1
            await asyncio.sleep(0)

    def stop(self) -> None:
        self._is_counting = False

    def steps(self, name: str, *, count: int, step_s: float) -> Steps[str]:
        for _ in range(count):
            self.now_s += step_s
            self.turns.append((name, self.turn))
            yield
        return name

    def in_one_turn(self) -> int:
        """The most steps of all work together that ran in one turn."""
        turns = [turn for _, turn in self.turns]
        return max(map(turns.count, turns))


async def run_beside_counter(work: Work, slices: TimeSlices, *steps: Steps[str]) -> list[str]:
    counting = asyncio.create_task(work.count_turns())
    try:
        return await asyncio.gather(*map(slices.run, steps))
    finally:
        work.stop()
        await counting


@pytest.mark.gen_test
async def test_a_slice_ends_with_the_step_in_which_its_time_is_over() -> None:
    work = Work()
    slices = TimeSlices(clock=work.clock, slice_s=1.0)
    assert await run_beside_counter(work, slices, work.steps("a", count=100, step_s=0.3)) == ["a"]
    assert work.in_one_turn() == 4
    assert work.turn >= 25


@pytest.mark.gen_test
async def test_a_step_that_takes_longer_than_a_slice_has_a_turn_of_its_own() -> None:
    work = Work()
    slices = TimeSlices(clock=work.clock, slice_s=1.0)
    await run_beside_counter(work, slices, work.steps("a", count=10, step_s=5.0))
    assert work.in_one_turn() == 1


@pytest.mark.gen_test
async def test_many_requests_together_have_one_slice_in_a_turn_and_take_it_in_turn() -> None:
    work = Work()
    slices = TimeSlices(clock=work.clock, slice_s=1.0)
    names = [f"{number}" for number in range(10)]
    each = [work.steps(name, count=20, step_s=0.5) for name in names]
    assert await run_beside_counter(work, slices, *each) == names
    assert work.in_one_turn() == 2
    # Nobody gets a second slice before all others have had their first.
    assert [name for name, _ in work.turns[::2]][:20] == names * 2


@pytest.mark.gen_test
async def test_short_work_is_done_in_one_slice() -> None:
    work = Work()
    slices = TimeSlices(clock=work.clock, slice_s=1.0)
    await run_beside_counter(work, slices, work.steps("a", count=100, step_s=0.001))
    assert work.in_one_turn() == 100


@pytest.mark.gen_test
async def test_an_error_and_a_cancelled_request_let_the_others_go_on() -> None:
    work = Work()
    slices = TimeSlices(clock=work.clock, slice_s=1.0)

    def failing() -> Steps[str]:
        yield from work.steps("failing", count=3, step_s=1.0)
        raise ValueError("bad order")

    failed = asyncio.create_task(slices.run(failing()))
    cancelled = asyncio.create_task(slices.run(work.steps("cancelled", count=1_000, step_s=1.0)))
    other = asyncio.create_task(slices.run(work.steps("other", count=10, step_s=1.0)))
    with pytest.raises(ValueError, match="bad order"):
        await failed
    cancelled.cancel()
    assert await other == "other"
    assert cancelled.cancelled()
