"""How much of long work runs in one iteration of the event loop. Each step of the work advances the clock."""

import asyncio

import pytest

from handlers.orders.time_slices import TimeSlices
from models.parsing.steps import Steps


class Work:
    """Makes steps that advance `now_s`, and records in which iteration of the event loop each step runs."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.iteration = 0
        self.iterations: list[tuple[str, int]] = []
        self._is_counting = True

    def clock(self) -> float:
        return self.now_s

    async def count_iterations(self) -> None:
        while self._is_counting:
            self.iteration += 1
            await asyncio.sleep(0)

    def stop(self) -> None:
        self._is_counting = False

    def steps(self, name: str, *, count: int, step_s: float) -> Steps[str]:
        for _ in range(count):
            self.now_s += step_s
            self.iterations.append((name, self.iteration))
            yield
        return name

    def most_in_one_iteration(self) -> int:
        """The highest number of steps in one iteration, counting the steps of all work together."""
        iterations = [iteration for _, iteration in self.iterations]
        return max(map(iterations.count, iterations))


async def run_beside_counter(work: Work, slices: TimeSlices, *steps: Steps[str]) -> list[str]:
    counting = asyncio.create_task(work.count_iterations())
    try:
        return await asyncio.gather(*map(slices.run, steps))
    finally:
        work.stop()
        await counting


@pytest.mark.gen_test
async def test_a_slice_ends_after_the_step_that_exceeds_its_time() -> None:
    work = Work()
    slices = TimeSlices(clock=work.clock, slice_s=1.0)
    assert await run_beside_counter(work, slices, work.steps("a", count=100, step_s=0.3)) == ["a"]
    assert work.most_in_one_iteration() == 4
    assert work.iteration >= 25


@pytest.mark.gen_test
async def test_a_step_that_takes_longer_than_a_slice_runs_alone_in_an_iteration() -> None:
    work = Work()
    slices = TimeSlices(clock=work.clock, slice_s=1.0)
    await run_beside_counter(work, slices, work.steps("a", count=10, step_s=5.0))
    assert work.most_in_one_iteration() == 1


@pytest.mark.gen_test
async def test_many_requests_get_slices_in_rotation_one_slice_per_iteration() -> None:
    work = Work()
    slices = TimeSlices(clock=work.clock, slice_s=1.0)
    names = [f"{number}" for number in range(10)]
    each = [work.steps(name, count=20, step_s=0.5) for name in names]
    assert await run_beside_counter(work, slices, *each) == names
    assert work.most_in_one_iteration() == 2
    # No work gets a second slice before all other work has had its first slice.
    assert [name for name, _ in work.iterations[::2]][:20] == names * 2


@pytest.mark.gen_test
async def test_short_work_is_done_in_one_slice() -> None:
    work = Work()
    slices = TimeSlices(clock=work.clock, slice_s=1.0)
    await run_beside_counter(work, slices, work.steps("a", count=100, step_s=0.001))
    assert work.most_in_one_iteration() == 100


@pytest.mark.gen_test
async def test_others_continue_after_an_error_and_a_cancelled_request() -> None:
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
