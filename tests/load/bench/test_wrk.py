"""What wrk is made to send, what of its report counts, and what becomes of the benchmark without it."""

import pytest

from load.bench.command import main
from load.bench.pace import Pace
from load.bench.plans import PLANS, MissingProgram, choose_plans
from load.bench.requests import body
from load.bench.wrk import WRK, WrkFailed, children_cpu_ns, measure_wrk, wrk_version
from load.http.address import Address, ServerUrl, reach
from tests.load.shop import Fault, Shop
from tests.process import need

MINUTE = pytest.mark.gen_test(timeout=60)


async def _reach(shop: Shop) -> Address:
    return await reach(ServerUrl.parse(shop.url), timeout_s=5)


async def _measure(address: Address) -> Pace:
    """A second, the shortest that wrk knows."""
    return await measure_wrk(address, clients=4, seconds=0.1, status=202, children_cpu_clock_ns=children_cpu_ns)


@pytest.mark.slow
@MINUTE
async def test_wrk_sends_the_orders_that_the_benchmark_sends(shop: Shop) -> None:
    need(WRK)
    pace = await _measure(await _reach(shop))
    assert pace.wrong == {}
    assert 0 <= len(shop.bodies) - pace.right <= 4
    assert sorted(shop.bodies[:100]) == sorted(map(body, sorted(shop.ids[:100])))
    # It makes one request beforehand, to see what it is like.
    assert sorted(shop.ids) == list(range(2, len(shop.ids) + 2))
    assert pace.elapsed_s >= 0.9
    assert 0 < pace.cpu_share < 1.1


@pytest.mark.slow
@MINUTE
async def test_answers_that_are_no_202_and_errors_of_sockets_are_wrong(shop: Shop) -> None:
    need(WRK)
    shop.refusals = {2: 503, 4: 503, 6: 200}
    shop.faults = {9: Fault.CUT}
    pace = await _measure(await _reach(shop))
    assert pace.wrong == {"wrk: status 503": 2, "wrk: status 200": 1, "wrk: read error of a socket": 1}
    assert 0 <= len(shop.bodies) - pace.right - 4 <= 4


@MINUTE
async def test_a_server_that_is_gone_is_told_in_wrk_s_last_words() -> None:
    need(WRK)
    with Shop() as shop:
        address = await _reach(shop)
    with pytest.raises(WrkFailed, match=r"wrk ended with status 1: unable to connect to 127\.0\.0\.1"):
        await _measure(address)


def test_the_version_is_told() -> None:
    need(WRK)
    assert wrk_version()[0].isalnum()
    assert "Copyright" not in wrk_version()


def test_without_wrk_its_trial_is_left_out_with_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    plans, [line] = choose_plans(None, has_stored=True)
    assert [plan for plan in PLANS.values() if plan not in plans] == [PLANS["generator"]]
    assert line.startswith("wrk (a Debian package) is not installed, which leaves out: POST of orders by")
    with pytest.raises(MissingProgram):
        choose_plans(["bulk", "generator"], has_stored=False)
    assert choose_plans(["bulk"], has_stored=False) == ([PLANS["bulk"]], [])


def test_without_wrk_its_trial_can_not_be_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert main(["--only", "generator"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("python -m load.bench: wrk (a Debian package) is not installed, which leaves out: ")
    assert err.count("\n") == 1
