"""Tests what the trials of processing count, and which runs are wrong or invalid. The measured speed is not tested."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from load.bench.trial import Server, Trial
from load.bench.trials import processing
from load.bench.trials.processing import (
    NOT_RECEIVED,
    RAN_OUT,
    RECEIVER_WAS_THE_LIMIT,
    cost,
    function,
    post_in_loop,
    webhooks,
)
from load.cli.errors import CommandError
from load.http.address import reach
from load.system.reference_servers import BARE_TORNADO, RECEIVER, reference_command
from load.system.server_process import ServerProcess
from tests.load.bench.pausable_shop import PausableShop
from tests.load.bench.shop_trial import shop_trial
from tests.load.shop import Shop

A_POLL = 5


@pytest.fixture(autouse=True)
def _few_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the trials fast: store few orders, and use the load generator instead of wrk."""
    for name in ("CALLS_A_SECOND", "WEBHOOKS_A_SECOND", "COST_ORDERS_A_SECOND"):
        monkeypatch.setattr(processing, name, 500)
    monkeypatch.setenv("PATH", "")


@pytest.fixture
def pausable() -> Iterator[PausableShop]:
    with PausableShop(a_poll=A_POLL) as shop:
        yield shop


@asynccontextmanager
async def _webhook_trial(shop: Shop, folder: Path, receiver: str = RECEIVER) -> AsyncIterator[Trial]:
    """Yield a trial of webhooks to a reference server."""
    command = reference_command(receiver)
    with ServerProcess(command, log=folder / "log") as process:
        server = Server("receiver", await reach(process.url), count(1), count(1), pid=process.pid)
        trial = await shop_trial({"webhook": shop})
        yield replace(trial, servers=[server, *trial.servers])


@pytest.mark.gen_test
async def test_orders_are_stored_while_processing_is_paused_and_then_processed(pausable: PausableShop) -> None:
    trial = replace(await shop_trial({"function": pausable}), runs=2)
    [row] = await function(trial)
    assert row.wrong == {}
    assert RAN_OUT not in row.invalid
    assert pausable.actions == ["pause", "resume", "pause"] * 2
    for run in row.runs:
        assert run["value"] == pytest.approx(run["processing_per_second"] / run["intake_per_second"])
        # The second poll of the window has completed A_POLL more orders than the first one.
        assert 0 < run["processing_per_second"] <= A_POLL / trial.seconds


@pytest.mark.gen_test
async def test_a_window_in_which_the_orders_run_out_is_invalid() -> None:
    with PausableShop(a_poll=1_000_000) as shop:
        [row] = await function(await shop_trial({"function": shop}))
    assert row.invalid[RAN_OUT] == 1
    assert not row.passed


@pytest.mark.slow
@pytest.mark.gen_test
async def test_completed_orders_that_the_receiver_did_not_get_are_wrong(pausable: PausableShop, tmp_path: Path) -> None:
    async with _webhook_trial(pausable, tmp_path) as trial:
        [row] = await webhooks(trial)
    assert row.wrong == {NOT_RECEIVED: 2 * A_POLL}
    assert row.runs[0]["urllib3_per_second"] > 0


@pytest.mark.slow
@pytest.mark.gen_test
async def test_a_receiver_that_used_all_cpu_time_makes_a_run_invalid(
    pausable: PausableShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processing, "BUSY_SHARE", -1.0)
    async with _webhook_trial(pausable, tmp_path) as trial:
        [row] = await webhooks(trial)
    assert row.invalid[RECEIVER_WAS_THE_LIMIT] > 0
    assert not row.passed


@pytest.mark.slow
@pytest.mark.gen_test
async def test_the_loop_of_urllib3_counts_only_a_202_as_right(shop: Shop, tmp_path: Path) -> None:
    async with _webhook_trial(shop, tmp_path, BARE_TORNADO) as trial:
        measured = await asyncio.to_thread(post_in_loop, trial)
    assert measured.right == 0
    assert list(measured.wrong) == ["status 404 for a request of urllib3"]


@pytest.mark.gen_test
async def test_a_server_that_does_not_pause_ends_the_trial(pausable: PausableShop) -> None:
    pausable.action_status = 403
    with pytest.raises(CommandError, match="POST /processing/pause: status 403"):
        await function(await shop_trial({"function": pausable}))


@pytest.mark.gen_test
async def test_the_cost_of_an_order_is_measured_for_each_processor(shop: Shop) -> None:
    with Shop() as other:
        trial = await shop_trial({"receiver": shop, "record": shop, "function": other})
        rows = await cost(trial)
    assert [row.name.rpartition(" ")[2] for row in rows] == ["record", "function"]
    for row in rows:
        assert (row.wrong, row.unit) == ({}, " µs")
        assert row.runs[0]["orders"] == 500 * trial.seconds
        assert row.runs[0]["value"] >= 0
