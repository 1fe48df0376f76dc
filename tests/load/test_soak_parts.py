"""The parts of a soak: the ledger, a minute's figures, looks at a process, and customers."""

import asyncio
import os
import socket
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from random import Random

import pytest

from load.address import Address, ServerUrl, reach
from load.orders import GeneratedOrders
from load.soak import day as day_module
from load.soak.command import main
from load.soak.customers import last_id_in, run_errands
from load.soak.day import Day, ServerGone
from load.soak.errands import Errand, status
from load.soak.ledger import Ledger
from load.soak.minute import HEADER, Book, Minute
from load.soak.sample import PROC, ProcessGone, Sample, take_sample
from load.soak.soak import split
from tests.load.shop import Shop

MIB = 1024 * 1024
SAMPLE = Sample(50 * MIB, 60 * MIB, 8, 18, 40, 4 * MIB, 9 * MIB, 1.5)


def _ledger(first_id: int = 1) -> Ledger:
    return Ledger(GeneratedOrders(first_id=first_id, count=1_000))


def test_an_acknowledged_order_is_missing_until_it_is_found() -> None:
    ledger = _ledger(first_id=100)
    for _ in range(3):
        ledger.take()
    ledger.acknowledge(0)
    ledger.acknowledge(2)
    assert (ledger.sent, ledger.acknowledged, ledger.missing) == (3, 2, 2)
    assert ledger.find(100)
    assert ledger.missing == 1
    assert ledger.find(102)
    assert ledger.missing == 0


def test_an_order_without_an_answer_may_be_there_and_one_that_was_never_sent_or_comes_twice_may_not() -> None:
    ledger = _ledger(first_id=100)
    ledger.take()
    assert ledger.find(100)
    assert not ledger.find(100)
    assert not ledger.find(101)
    assert not ledger.find(99)


def test_only_acknowledged_orders_are_chosen() -> None:
    ledger = _ledger()
    with pytest.raises(ValueError, match="no order was acknowledged"):
        ledger.any_acknowledged(Random(1))
    for _ in range(10):
        ledger.take()
    ledger.acknowledge(3)
    ledger.acknowledge(7)
    assert {ledger.any_acknowledged(Random(seed)) for seed in range(50)} == {3, 7}


def _close(book: Book) -> Minute:
    return book.close("7", seconds=60.0, orders=61_000, orders_before=1_000, backlog=2, late_ns=[500_000], cpu_s=30.0)


def test_a_minute_has_the_highest_of_its_samples_and_the_median_of_its_files() -> None:
    book = Book()
    for files, memory_mib in ((18, 50), (19, 55), (18, 52)):
        book.note_sample(SAMPLE._replace(files=files, memory_bytes=memory_mib * MIB))
    for latency_ms in range(1, 101):
        book.note_latency(latency_ms * 1_000_000)
    book.errors["why"] += 1
    minute = _close(book)
    assert (minute.files, minute.memory_mib, minute.peak_mib, minute.wal_mib) == (18, 55.0, 60.0, 4.0)
    assert minute.cpu_share == 0.5
    assert (minute.p50_ms, minute.p99_ms, minute.late_p99_ms) == (50.0, 99.0, 0.5)
    assert (minute.orders, minute.orders_per_second, minute.backlog, minute.errors) == (61_000, 1_000.0, 2, 1)
    assert len(minute.line) == len(HEADER)


def test_a_minute_without_an_answer_has_no_latency() -> None:
    book = Book()
    book.note_sample(SAMPLE)
    assert _close(book).p99_ms is None
    assert " - " in _close(book).line


def test_a_look_sees_files_sockets_and_sizes(tmp_path: Path) -> None:
    database = tmp_path / "orders.db"
    own = PROC / str(os.getpid())
    before = take_sample(own, database)
    with socket.socket(), database.open("wb") as file:
        file.write(b"x" * 100)
        file.flush()
        seen = take_sample(own, database)
    assert (seen.sockets - before.sockets, seen.files - before.files) == (1, 1)
    assert (seen.database_bytes, seen.wal_bytes, before.database_bytes) == (100, 0, 0)
    assert seen.peak_bytes >= seen.memory_bytes > MIB
    assert seen.threads >= 1
    assert 0 < before.cpu_s <= seen.cpu_s <= time.process_time() + 0.02


def test_a_process_that_is_not_there_is_gone(tmp_path: Path) -> None:
    with pytest.raises(ProcessGone):
        take_sample(tmp_path / "1", tmp_path / "orders.db")


@pytest.mark.parametrize(
    ("minutes", "parts"), [(10, (10, 60.0)), (2, (2, 60.0)), (2.5, (3, 50.0)), (1, (2, 30.0)), (0.1, (2, 3.0))]
)
def test_the_time_is_split_into_minutes_or_somewhat_less(minutes: float, parts: tuple[int, float]) -> None:
    assert split(minutes) == pytest.approx(parts)


@pytest.mark.parametrize("flags", [["--minutes", "0"], ["--minutes", "nan"], ["--folder", "/nowhere"], ["--rate", "x"]])
def test_a_bad_flag_is_one_line(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(flags)
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(
    ("piece", "last_id"),
    [
        (b"\nid: a-1\nevent: order\ndata: {}\n\nid: a-2\nevent: order\ndata: {}\n\n", b"a-2"),
        (b"\nid: a-1\nevent: order\ndata: {}\n\nid: a-", b"a-1"),
        (b"event: order\ndata: {}\n\n", b""),
        (b"", b""),
    ],
)
def test_the_last_whole_id_of_a_piece_is_known(piece: bytes, last_id: bytes) -> None:
    assert last_id_in(piece) == last_id


async def _address(shop: Shop) -> Address:
    return await reach(ServerUrl.parse(shop.url), timeout_s=5)


@pytest.mark.gen_test
async def test_customers_complain_of_wrong_answers_and_of_missing_ones(shop: Shop) -> None:
    address, complaints = await _address(shop), list[str]()
    errands = [Errand(address.get("/order/17"), status(200)), Errand(address.get("/metrics"), status(200))]
    customer = run_errands(
        address, iter(errands), pause_s=0.001, chance=Random(1), complain=complaints.append, stays=False
    )
    await customer
    assert complaints == ["GET /order/N: status 404 instead of 200"]


def _day(address: Address, look: Callable[[], Sample], told: list[Minute]) -> Day:
    return Day(
        address,
        ledger=_ledger(),
        look=look,
        rate=200,
        parts=2,
        part_s=0.06,
        seed=1,
        tell=told.append,
        clock_ns=time.perf_counter_ns,
    )


@pytest.mark.gen_test
async def test_a_day_has_a_warm_up_and_its_minutes(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(day_module, "FILLING_ARRAYS", 1)
    told: list[Minute] = []
    shop.refusals = {1_500: 409}
    day = _day(await _address(shop), lambda: SAMPLE, told)
    await day.live()
    assert [minute.name for minute in told] == ["warm-up", "1", "2"]
    assert told == [day.warm_up, *day.minutes]
    assert all(minute.p99_ms is not None for minute in told)
    # Whichever array it is in, there are too many orders before it for one that comes alone.
    assert day.errors["POST /orders: 999 accepted of 1000"] == 1
    assert not asyncio.all_tasks() - {asyncio.current_task()}


@pytest.mark.gen_test
async def test_a_server_that_ends_ends_the_day(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(day_module, "FILLING_ARRAYS", 1)
    looks, told = count(), list[Minute]()

    def look() -> Sample:
        if next(looks) == 25:
            raise ProcessGone
        return SAMPLE

    day = _day(await _address(shop), look, told)
    with pytest.raises(ProcessGone):
        await day.live()
    assert [minute.name for minute in told] == ["warm-up"]
    assert not asyncio.all_tasks() - {asyncio.current_task()}


@pytest.mark.gen_test
async def test_a_server_that_takes_no_orders_ends_the_day_before_it_begins(shop: Shop) -> None:
    shop.refusals = dict.fromkeys(range(1, 1_001), 503)
    with pytest.raises(ServerGone, match="does not take orders: POST /orders: status 422 instead of 202"):
        await _day(await _address(shop), lambda: SAMPLE, []).live()
