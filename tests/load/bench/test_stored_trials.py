"""What the trials of many stored orders against few make of what two shops answer; what they measure is no test."""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from random import Random
from socket import AF_INET

import pytest

from load.bench import stored_trials
from load.bench.open_loop import Latency
from load.bench.pace import Pace
from load.bench.row import Row
from load.bench.stored_sides import TURNS, NotStored, Side, Sides, find_sides
from load.bench.stored_trials import (
    METRICS_GETS,
    stored_bulk,
    stored_crowd,
    stored_intake,
    stored_metrics,
    stored_reading,
    stored_steady,
)
from load.bench.trial import Trial
from load.bench.turns import Processed, Times
from load.bench.wrk import children_cpu_ns
from load.http.address import Address, ServerUrl, reach
from load.system.machine import allow_connections
from tests.load.bench.stocked_shop import StockedShop

MINUTE = pytest.mark.gen_test(timeout=60)
SMALL, BIG = 20, 300
NOWHERE = Address(ServerUrl.parse("http://127.0.0.1:1"), AF_INET, ("127.0.0.1", 1))


async def _trial(small: StockedShop, big: StockedShop, *, told: list[str] | None = None) -> Trial:
    """Two short runs, so that either side comes first once."""
    sides = [await reach(ServerUrl.parse(shop.url), timeout_s=5) for shop in (small, big)]
    return Trial(
        other=sides[0],
        ours=sides[1],
        runs=2,
        seconds=0.05,
        tell=(told if told is not None else []).append,
        clock_ns=time.perf_counter_ns,
        cpu_clock_ns=time.process_time_ns,
        children_cpu_clock_ns=children_cpu_ns,
        seeded=Random,
        other_name="small",
    )


@pytest.fixture
def small() -> Iterator[StockedShop]:
    allow_connections(1000)
    with StockedShop(SMALL) as shop:
        yield shop


@pytest.fixture
def big() -> Iterator[StockedShop]:
    with StockedShop(BIG) as shop:
        yield shop


@MINUTE
async def test_both_sides_are_looked_at_before_anything_is_sent(small: StockedShop, big: StockedShop) -> None:
    told: list[str] = []
    sides = await find_sides(await _trial(small, big, told=told))
    assert (sides.small.stored, sides.big.stored) == (SMALL, BIG)
    assert (next(sides.small.ids), next(sides.big.ids)) == (SMALL + 1, BIG + 1)
    assert told == ["small has 20 orders, big has 300 (by /metrics; ids from 1 on)"]


@MINUTE
async def test_orders_with_other_ids_than_those_from_1_on_end_the_trial(small: StockedShop) -> None:
    with StockedShop(BIG, missing=(BIG,)) as big:
        trial = await _trial(small, big)
        with pytest.raises(NotStored, match="the server has 300 orders, but not those with the ids from 1 on"):
            await find_sides(trial)


@pytest.mark.gen_test
async def test_the_sides_take_turns_and_the_small_ones_result_comes_first() -> None:
    sides = Sides(*[Side(NOWHERE, stored, iter(())) for stored in (1, 2)])
    measured: list[float] = []

    async def measure(side: Side) -> Times:
        measured.append(side.stored)
        return Times([float(side.stored)])

    results = [await sides.in_turns(number, measure, turns=4) for number in (1, 2)]
    assert [[times.ms for times in result] for result in results] == [[[1.0] * 4, [2.0] * 4]] * 2
    assert measured == [1, 2, 2, 1] * 2 + [2, 1, 1, 2] * 2


def test_turns_add_up_to_one() -> None:
    one = Processed(Pace(right=10, wrong=Counter({"a": 1}), elapsed_s=1.0, cpu_share=0.5), empty_s=0.5)
    one.add(Processed(Pace(right=30, wrong=Counter({"a": 2}), elapsed_s=3.0, cpu_share=0.1), empty_s=0.5))
    assert (one.pace.right, one.pace.wrong, one.pace.elapsed_s) == (40, {"a": 3}, 4.0)
    assert one.pace.cpu_share == pytest.approx(0.2)
    assert one.per_second == 8.0
    latency = Latency(right=1, elapsed_s=1.0, latencies_ns=[3_000_000], late_ns=[1])
    latency.add(Latency(right=1, elapsed_s=1.0, latencies_ns=[5_000_000], late_ns=[2]))
    assert (latency.p99_ms(), latency.late_ns, latency.per_second) == (5.0, [1, 2], 1.0)


@pytest.mark.slow
@MINUTE
@pytest.mark.parametrize("trial", [stored_intake, stored_reading, stored_steady])
async def test_both_sides_times_are_compared_and_no_order_is_sent_twice(
    trial: Callable[[Trial], Awaitable[list[Row]]], small: StockedShop, big: StockedShop
) -> None:
    for row in await trial(await _trial(small, big)):
        assert row.wrong == {}
        assert "with 300 stored orders against 20" in row.name
        assert (row.at_most, row.aim) == (1.25, 1.1)
        assert len(row.runs) == 2
        for run in row.runs:
            small_figure, big_figure = (value for name, value in run.items() if name.startswith(("small_", "big_")))
            is_time = any(name.endswith("_ms") for name in run)
            ratio = big_figure / small_figure if is_time else small_figure / big_figure
            assert run["value"] == pytest.approx(ratio)


@MINUTE
@pytest.mark.slow
async def test_a_crowd_and_bulk_orders_are_compared_in_the_same_way(
    small: StockedShop, big: StockedShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_trials, "BULK_REQUESTS", 20)
    monkeypatch.setattr(stored_trials, "CROWD", 50)
    trial = await _trial(small, big)
    [crowd] = await stored_crowd(trial)
    [bulk] = await stored_bulk(trial)
    assert (crowd.wrong, bulk.wrong) == ({}, {})
    for run in crowd.runs:
        assert run["value"] == run["big_s"] / run["small_s"]
    for run in bulk.runs:
        assert run["value"] == run["small_per_second"] / run["big_per_second"]


@MINUTE
@pytest.mark.slow
async def test_an_order_that_one_side_refuses_is_a_wrong_answer(small: StockedShop, big: StockedShop) -> None:
    big.refusals = {BIG + 5: 503}
    accepting, _ = await stored_intake(await _trial(small, big))
    assert accepting.wrong == {"status 503": 1}
    assert not accepting.passed


@pytest.mark.slow
@MINUTE
async def test_an_order_that_is_not_there_any_more_is_a_wrong_answer(small: StockedShop) -> None:
    with StockedShop(BIG, missing=tuple(range(1, 100))) as big:
        [row] = await stored_reading(await _trial(small, big))
    assert row.wrong["status 404"] > 0
    assert not row.passed


@MINUTE
async def test_the_metrics_are_asked_for_one_after_another(small: StockedShop, big: StockedShop) -> None:
    before = len(big.heads)
    trial = await _trial(small, big)
    [row] = await stored_metrics(trial)
    asked = [head for head in big.heads[before:] if head.startswith("GET /metrics ")]
    assert len(asked) >= trial.runs * TURNS * METRICS_GETS
    # One a turn, and those that look before whether all is done and how many there are.
    assert big.connections <= trial.runs * TURNS + 4
    assert (row.wrong, row.at_most, row.unit) == ({}, 2.0, " ms")
    for run in row.runs:
        assert 0 < run["value"] <= run["big_max_ms"]
        assert 0 < run["small_median_ms"] <= run["small_max_ms"]
