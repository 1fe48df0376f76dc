"""Tests what wrk sends, how its report is parsed, and how the benchmark runs without wrk."""

import pytest

from load.bench import wrk
from load.bench.command import main
from load.bench.measurement import Measurement
from load.bench.plans import PLANS, choose_plans
from load.bench.workloads import body
from load.bench.wrk import WRK, measure_wrk, posting, wrk_version
from load.cli.errors import CommandError, ExitStatus
from load.http.address import Address, ServerUrl, reach
from tests.load.bench.shop_trial import shop_trial
from tests.load.shop import Fault, Shop
from tests.process import need


async def _reach(shop: Shop) -> Address:
    return await reach(ServerUrl.parse(shop.url), timeout_s=5)


async def _measure(address: Address) -> Measurement:
    """Measure for a second, the shortest time that wrk takes."""
    return await measure_wrk(address, posting(address, first_id=1, counts_statuses=True), clients=4, seconds=0.1)


@pytest.mark.slow
@pytest.mark.gen_test
async def test_wrk_sends_the_orders_that_the_benchmark_sends(shop: Shop) -> None:
    need(WRK)
    measured = await _measure(await _reach(shop))
    shop.read_all()
    assert measured.wrong == {}
    assert 0 <= len(shop.bodies) - measured.right <= 4
    assert sorted(shop.bodies[:100]) == sorted(map(body, sorted(shop.ids[:100])))
    # wrk builds one request before it starts, and does not send this request.
    assert sorted(shop.ids) == list(range(2, len(shop.ids) + 2))
    assert measured.elapsed_s >= 0.9
    assert 0 < measured.cpu_share < 1.1


@pytest.mark.slow
@pytest.mark.gen_test
async def test_answers_other_than_202_and_socket_errors_are_wrong(shop: Shop) -> None:
    need(WRK)
    shop.refusals = {2: 503, 4: 503, 6: 200}
    shop.faults = {9: Fault.CUT}
    measured = await _measure(await _reach(shop))
    assert measured.wrong == {"wrk: status 503": 2, "wrk: status 200": 1, "wrk: read error of a socket": 1}
    assert 0 <= len(shop.bodies) - measured.right - 4 <= 4


@pytest.mark.gen_test
async def test_a_missing_server_is_reported_with_wrks_last_line() -> None:
    need(WRK)
    with Shop() as shop:
        address = await _reach(shop)
    with pytest.raises(CommandError, match=r"wrk ended with status 1: unable to connect to 127\.0\.0\.1"):
        await _measure(address)


def test_the_version_of_wrk_is_found() -> None:
    need(WRK)
    assert wrk_version()[0].isalnum()
    assert "Copyright" not in wrk_version()


def test_without_wrk_its_trial_is_left_out_with_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    plans, [line, _] = choose_plans(None, has_stored=True)
    left_out = [plan for plan in PLANS.values() if plan not in plans and not plan.needs_database]
    assert left_out == [PLANS["generator"]]
    assert line.startswith("wrk (a Debian package) is not installed, which leaves out: POST of orders by")
    with pytest.raises(CommandError) as error:
        choose_plans(["crowd", "generator"], has_stored=False)
    assert error.value.exit_status is ExitStatus.FAILED
    assert choose_plans(["crowd"], has_stored=False) == ([PLANS["crowd"]], [])


def test_without_wrk_its_trial_can_not_be_chosen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert main(["--only", "generator"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("python -m load.bench: wrk (a Debian package) is not installed, which leaves out: ")
    assert err.count("\n") == 1


@pytest.mark.slow
@pytest.mark.gen_test
async def test_the_next_orders_have_ids_that_wrk_has_not_sent(shop: Shop) -> None:
    need(WRK)
    trial = await shop_trial({"other": shop, "ours": shop})
    for _ in range(2):
        measured = await wrk.post_orders(trial, trial.ours)
        shop.read_all()
        assert measured.wrong == {}
        assert 0 < measured.right <= len(shop.ids)
        assert next(trial.ours.ids) > max(shop.ids)


@pytest.mark.slow
@pytest.mark.gen_test
async def test_stored_orders_are_asked_for_and_a_404_is_wrong(shop: Shop) -> None:
    need(WRK)
    trial = await shop_trial({"other": shop, "ours": shop})
    missing = await wrk.get_orders(trial, trial.ours._replace(stored=5))
    assert missing.right == 0
    assert missing.wrong["wrk: a status of 400 or above"] > 0


@pytest.mark.gen_test
async def test_without_wrk_the_load_generator_takes_its_place(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    trial = await shop_trial({"other": shop, "ours": shop})
    posted = await wrk.post_orders(trial, trial.ours)
    assert (posted.right, posted.wrong) == (len(shop.ids), {})
    read = await wrk.get_orders(trial, trial.ours._replace(stored=1))
    assert read.right > 0
    assert read.wrong == {}
