"""Tests what trials report about wrong responses and slow clients. The measured speed is not tested."""

from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from load.bench.trial import CLIENT_WAS_THE_LIMIT, Trial
from load.bench.trials.background import among_slow_clients, readers
from load.bench.trials.requests import bulk, crowd, steady
from load.bench.workloads import AT_ONCE, ORDERS_PER_SECOND, post_arrays, settled
from load.cli.errors import CommandError
from tests.load.bench.shop_trial import shop_trial
from tests.load.shop import Shop

HOUR_NS = 3_600_000_000_000


async def _trial(shop: Shop, *, other: Shop | None = None) -> Trial:
    """Return a trial of `other` and `shop` with one short run. Without `other`, `shop` is compared with itself."""
    return await shop_trial({"other": other or shop, "ours": shop})


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_wrong_answer_to_an_array_fails_the_comparison_with_single_orders(shop: Shop) -> None:
    trial = await _trial(shop)
    shop.refusals = {1 + int(ORDERS_PER_SECOND * trial.seconds): 409}
    [row] = await bulk(trial)
    assert row.wrong == {"999 accepted of 1000": 1}
    assert row.runs[0]["bulk_per_second"] > 0
    assert not row.passed


@pytest.mark.gen_test
async def test_an_array_that_is_not_fully_accepted_is_a_wrong_answer(shop: Shop) -> None:
    trial = await _trial(shop)
    shop.refusals = {1: 409}
    measured = await post_arrays(trial, trial.ours)
    assert measured.wrong == {"999 accepted of 1000": 1}
    assert measured.right > 0


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_server_without_metrics_ends_the_trial(shop: Shop) -> None:
    shop.has_metrics = False
    trial = await _trial(shop)
    with pytest.raises(CommandError, match="orders were not processed after the load"):
        await settled(post_arrays)(trial, trial.ours)


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_run_whose_readers_get_no_events_is_wrong(shop: Shop, tmp_path: Path) -> None:
    shop.events.is_silent = True
    with Shop() as other:
        [row] = await readers(replace(await _trial(shop, other=other), folder=tmp_path))
    assert row.wrong == {"a run in which a reader did not get the events of all orders": 1}
    assert row.runs[0]["least_bytes"] == 0
    assert not row.passed


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_run_whose_readers_get_all_events_is_right(shop: Shop, tmp_path: Path) -> None:
    with Shop() as other:
        [row] = await readers(replace(await _trial(shop, other=other), folder=tmp_path))
    assert row.wrong == {}
    assert row.runs[0]["least_bytes"] == row.runs[0]["most_bytes"] > 0


@pytest.mark.slow
@pytest.mark.gen_test
async def test_slow_clients_are_connected_during_the_measurement(shop: Shop, tmp_path: Path) -> None:
    [row] = await among_slow_clients(replace(await _trial(shop), folder=tmp_path))
    assert row.wrong == {}
    assert row.runs[0]["slow_clients_cut_off"] == 0
    assert shop.connections > 500


@pytest.mark.gen_test
async def test_a_client_that_used_all_cpu_time_makes_a_row_invalid(shop: Shop) -> None:
    cpu_clock_ns = count(step=HOUR_NS).__next__
    [row] = await steady(await shop_trial({"bare": shop, "ours": shop}, cpu_clock_ns=cpu_clock_ns))
    assert row.invalid == {CLIENT_WAS_THE_LIMIT: 1}
    assert not row.passed


@pytest.mark.slow
@pytest.mark.gen_test
async def test_an_order_that_existed_before_is_a_wrong_answer(shop: Shop) -> None:
    trial = await _trial(shop)
    await steady(trial)
    [row] = await steady(trial)
    assert row.wrong["an order that was there before"] > 0
    assert not row.passed


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_refused_order_of_many_at_once_is_a_wrong_answer(shop: Shop) -> None:
    shop.refusals = {AT_ONCE: 503}
    [row] = await crowd(await _trial(shop))
    assert row.wrong["status 503"] == 2
