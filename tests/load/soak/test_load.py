"""Tests the load of a soak, with short minutes, against the fake server."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from load.cli.errors import CommandError
from load.http.address import Address, ServerUrl, reach
from load.orders.generated import GeneratedOrders, SentOrders
from load.soak import load as load_module
from load.soak.load import SoakLoad
from load.soak.minute import Sample
from load.soak.requests import ARRAY_SIZE
from load.system.machine import PROCESS_ENDED
from tests.load.shop import Shop
from tests.load.soak.samples import SAMPLE


class WaitingClock:
    """A clock that stays at 0 until `is_synced` is set and an order that was not in an array is acknowledged."""

    def __init__(self, ledger: SentOrders) -> None:
        self.is_synced = False
        self._ledger = ledger
        self._started_ns = 0

    def now_ns(self) -> int:
        if self._started_ns:
            return time.perf_counter_ns() - self._started_ns
        # A whole array is acknowledged at once, so a remainder shows a single order.
        if self.is_synced and self._ledger.acknowledged % ARRAY_SIZE:
            self._started_ns = time.perf_counter_ns()
        return 0


def _ledger() -> SentOrders:
    return SentOrders(GeneratedOrders(first_id=1, count=10_000))


def _load(
    address: Address,
    sample: Callable[[], Sample],
    folder: Path,
    *,
    ledger: SentOrders | None = None,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
) -> SoakLoad:
    return SoakLoad(
        address=address,
        ledger=_ledger() if ledger is None else ledger,
        take_sample=sample,
        clock_ns=clock_ns,
        disk_file=folder / "disk",
        rate=200,
        parts=2,
        part_s=0.06,
        seed=1,
    )


@pytest.mark.gen_test
async def test_the_load_has_a_warm_up_and_its_minutes(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(load_module, "FILLING_ARRAYS", 1)  # makes the test fast
    ledger = _ledger()
    clock = WaitingClock(ledger)

    def sync_once(_: Path, *, note: Callable[[int], None], ended: Event) -> None:
        note(7_000_000)
        clock.is_synced = True

    monkeypatch.setattr(load_module, "measure_syncs", sync_once)  # makes the test fast
    shop.refusals = {1_500: 409}
    address = await reach(ServerUrl.parse(shop.url))
    load = _load(address, lambda: SAMPLE, tmp_path, ledger=ledger, clock_ns=clock.now_ns)
    await load.run()
    assert [minute.name for minute in load.recorded] == ["warm-up", "1", "2"]
    assert load.recorded[0].p99_ms is not None
    assert load.recorded[0].disk_p99_ms == 7.0
    # The refused order is always in an array: too many orders come before it for a single one.
    assert load.errors["POST /orders: 999 accepted of 1000"] == 1
    assert not asyncio.all_tasks() - {asyncio.current_task()}


@pytest.mark.gen_test
async def test_a_server_that_ends_ends_the_load(shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(load_module, "FILLING_ARRAYS", 1)  # makes the test fast

    def sample() -> Sample:
        if load.recorded:
            raise CommandError(PROCESS_ENDED)
        return SAMPLE

    load = _load(await reach(ServerUrl.parse(shop.url)), sample, tmp_path)
    with pytest.raises(CommandError, match=PROCESS_ENDED):
        await load.run()
    assert [minute.name for minute in load.recorded] == ["warm-up"]
    assert not asyncio.all_tasks() - {asyncio.current_task()}


@pytest.mark.gen_test
async def test_a_server_that_takes_no_orders_ends_the_load_at_the_start(shop: Shop, tmp_path: Path) -> None:
    shop.refusals = dict.fromkeys(range(1, 1_001), 503)
    with pytest.raises(CommandError, match="does not take orders: POST /orders: status 422 instead of 202"):
        await _load(await reach(ServerUrl.parse(shop.url)), lambda: SAMPLE, tmp_path).run()


@pytest.mark.gen_test
async def test_a_session_that_fails_ends_the_load_at_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def fail() -> None:
        raise RuntimeError("out of requests")

    # No real session fails this way.
    monkeypatch.setattr(load_module, "client_sessions", lambda *args, **others: iter([fail()]))
    load = _load(await reach(ServerUrl.parse(shop.url)), lambda: SAMPLE, tmp_path)
    with pytest.raises(RuntimeError, match="out of requests"):
        await load.run()
    assert load.recorded == []
    assert not asyncio.all_tasks() - {asyncio.current_task()}
