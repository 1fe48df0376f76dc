"""What the trials say of a shop that answers wrongly and of a client that is too slow; what they measure is no test."""

import time
from collections.abc import Callable
from random import Random

import pytest

from load.bench.surface_trials import bulk, readers, slow_clients
from load.bench.trial import CLIENT_WAS_THE_LIMIT, BacklogStuck, Trial
from load.bench.trials import CROWD, crowd, steady
from load.bench.wrk import children_cpu_ns
from load.http.address import ServerUrl, reach
from tests.load.shop import Shop

MINUTE = pytest.mark.gen_test(timeout=60)


async def _trial(
    ours: Shop, *, other: Shop | None = None, cpu_clock_ns: Callable[[], int] = time.process_time_ns
) -> Trial:
    """One short run, against itself where there is no other."""
    sides = [await reach(ServerUrl.parse(shop.url), timeout_s=5) for shop in (other or ours, ours)]
    return Trial(
        other=sides[0],
        ours=sides[1],
        runs=1,
        seconds=0.1,
        tell=lambda line: None,
        clock_ns=time.perf_counter_ns,
        cpu_clock_ns=cpu_clock_ns,
        children_cpu_clock_ns=children_cpu_ns,
        seeded=Random,
        other_name="other",
    )


@pytest.mark.slow
@MINUTE
async def test_bulk_orders_that_are_not_all_accepted_are_a_wrong_answer(shop: Shop) -> None:
    first_in_bulk = 2_001
    shop.refusals = {first_in_bulk: 409}
    [row] = await bulk(await _trial(shop))
    assert row.wrong == {"999 accepted of 1000": 1}
    assert row.runs[0]["bulk_per_second"] > 0
    assert not row.passed


@pytest.mark.slow
@MINUTE
async def test_a_backlog_that_does_not_shrink_ends_the_trial(shop: Shop) -> None:
    shop.has_metrics = False
    with pytest.raises(BacklogStuck):
        await bulk(await _trial(shop))


@pytest.mark.slow
@MINUTE
async def test_readers_that_get_no_events_are_a_wrong_answer(shop: Shop) -> None:
    shop.events.is_silent = True
    with Shop() as other:
        [row] = await readers(await _trial(shop, other=other))
    assert row.wrong == {"a run in which a reader did not get the events of all orders": 1}
    assert row.runs[0]["least_bytes"] == 0
    assert not row.passed


@pytest.mark.slow
@MINUTE
async def test_readers_that_get_all_events_are_right(shop: Shop) -> None:
    with Shop() as other:
        [row] = await readers(await _trial(shop, other=other))
    assert row.wrong == {}
    assert row.runs[0]["least_bytes"] == row.runs[0]["most_bytes"] > 0


@pytest.mark.slow
@MINUTE
async def test_slow_clients_are_there_while_the_others_are_asked_for(shop: Shop) -> None:
    [row] = await slow_clients(await _trial(shop))
    assert row.wrong == {}
    assert row.runs[0]["slow_clients_cut_off"] == 0
    assert shop.connections > 500


@MINUTE
async def test_a_client_without_time_left_makes_a_row_void(shop: Shop) -> None:
    [row] = await steady(await _trial(shop, cpu_clock_ns=time.perf_counter_ns))
    assert row.void == {CLIENT_WAS_THE_LIMIT: 1}
    assert not row.passed


@pytest.mark.slow
@MINUTE
async def test_an_order_that_was_there_before_is_a_wrong_answer(shop: Shop) -> None:
    trial = await _trial(shop)
    await steady(trial)
    [row] = await steady(trial)
    assert row.wrong["an order that was there before"] > 0
    assert not row.passed


@pytest.mark.slow
@MINUTE
async def test_a_crowd_of_which_one_is_refused_has_a_wrong_answer(shop: Shop) -> None:
    shop.refusals = {CROWD: 503}
    [row] = await crowd(await _trial(shop))
    assert row.wrong["status 503"] == 2
