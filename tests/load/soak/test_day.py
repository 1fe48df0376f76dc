"""A soak's day, with short minutes, at a shop that plays the server."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from load.http.address import Address, ServerUrl, reach
from load.orders.generated import GeneratedOrders
from load.orders.sent_orders import SentOrders
from load.soak import day as day_module
from load.soak.day import Day, ServerGone
from load.soak.minute import Minute
from load.soak.sample import Sample
from load.system.process_status import ProcessGone
from tests.load.shop import Shop
from tests.load.soak.samples import SAMPLE


def _day(address: Address, look: Callable[[], Sample], told: list[Minute], folder: Path) -> Day:
    return Day(
        address,
        ledger=SentOrders(GeneratedOrders(first_id=1, count=10_000)),
        look=look,
        disk_file=folder / "disk",
        rate=200,
        parts=2,
        part_s=0.06,
        seed=1,
        tell=told.append,
        clock_ns=time.perf_counter_ns,
    )


async def _sync_once(_: Path, *, note: Callable[[int], None], clock_ns: Callable[[], int]) -> None:
    note(7_000_000)


@pytest.mark.gen_test
async def test_a_day_has_a_warm_up_and_its_minutes(shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(day_module, "FILLING_ARRAYS", 1)
    monkeypatch.setattr(day_module, "keep_syncing", _sync_once)
    told: list[Minute] = []
    shop.refusals = {1_500: 409}
    day = _day(await reach(ServerUrl.parse(shop.url)), lambda: SAMPLE, told, tmp_path)
    await day.live()
    assert [minute.name for minute in told] == ["warm-up", "1", "2"]
    assert told == [day.warm_up, *day.minutes]
    assert any(minute.p99_ms is not None for minute in told)
    assert told[0].disk_p99_ms == 7.0
    # Whichever array it is in, there are too many orders before it for one that comes alone.
    assert day.errors["POST /orders: 999 accepted of 1000"] == 1
    assert not asyncio.all_tasks() - {asyncio.current_task()}


@pytest.mark.gen_test
async def test_a_server_that_ends_ends_the_day(shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(day_module, "FILLING_ARRAYS", 1)
    told: list[Minute] = []

    def look() -> Sample:
        if told:
            raise ProcessGone
        return SAMPLE

    day = _day(await reach(ServerUrl.parse(shop.url)), look, told, tmp_path)
    with pytest.raises(ProcessGone):
        await day.live()
    assert [minute.name for minute in told] == ["warm-up"]
    assert not asyncio.all_tasks() - {asyncio.current_task()}


@pytest.mark.gen_test
async def test_a_server_that_takes_no_orders_ends_the_day_before_it_begins(shop: Shop, tmp_path: Path) -> None:
    shop.refusals = dict.fromkeys(range(1, 1_001), 503)
    with pytest.raises(ServerGone, match="does not take orders: POST /orders: status 422 instead of 202"):
        await _day(await reach(ServerUrl.parse(shop.url)), lambda: SAMPLE, [], tmp_path).live()


@pytest.mark.gen_test
async def test_a_customer_that_fails_ends_the_day_at_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def fail() -> None:
        raise RuntimeError("out of errands")

    monkeypatch.setattr(day_module, "crowd", lambda *args, **others: iter([fail()]))
    told: list[Minute] = []
    day = _day(await reach(ServerUrl.parse(shop.url)), lambda: SAMPLE, told, tmp_path)
    with pytest.raises(RuntimeError, match="out of errands"):
        await day.live()
    assert told == []
    assert not asyncio.all_tasks() - {asyncio.current_task()}
