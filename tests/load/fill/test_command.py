"""Tests `python -m load.fill` with few orders: the content of the file, feeding a server, and errors."""

import re
import sqlite3
import time
from pathlib import Path

import pytest

from load.cli.errors import CommandError
from load.fill.command import OrderFeeder, count_orders, main
from load.http.address import Address, ServerUrl, reach
from tests.load.shop import Shop


def _statuses(file: Path) -> dict[str, int]:
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        found = connection.execute("SELECT status, count(*) FROM orders GROUP BY status").fetchall()
        [ids] = connection.execute("SELECT min(order_id), max(order_id), count(*) FROM orders").fetchall()
        assert ids == (1, ids[2], ids[2])
        [totals] = connection.execute("SELECT pending, processing, completed FROM totals").fetchall()
    finally:
        connection.close()
    assert totals == (dict(found).get("Pending", 0), 0, dict(found).get("Completed", 0))
    return dict(found)


@pytest.mark.slow
def test_a_file_is_filled_and_can_be_continued(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "orders.db"
    assert main(["--orders", "2500", "--database", str(file), "--pending", "30"]) == 0
    out = capsys.readouterr().out
    assert re.fullmatch(rf"{file}: 2,500 orders, 30 of them Pending; 0 MiB, in \d+\.\d s, [\d,]+ orders/s\n", out), out
    assert [path.name for path in tmp_path.glob("*-*")] == []
    assert _statuses(file) == {"Completed": 2_470, "Pending": 30}
    assert main(["--orders", "5500", "--database", str(file), "--continue"]) == 0
    assert _statuses(file) == {"Completed": 5_500}
    capsys.readouterr()
    assert main(["--orders", "100", "--database", str(file), "--continue"]) == 1
    assert capsys.readouterr().err == f"python -m load.fill: {file} already has 5,500 orders, more than 100\n"
    assert _statuses(file) == {"Completed": 5_500}


@pytest.mark.slow
def test_continuing_leaves_pending_orders_pending(tmp_path: Path) -> None:
    file = tmp_path / "orders.db"
    assert main(["--orders", "1500", "--database", str(file), "--pending", "1000"]) == 0
    assert main(["--orders", "3000", "--database", str(file), "--pending", "2500", "--continue"]) == 0
    assert _statuses(file) == {"Completed": 500, "Pending": 2_500}


def test_a_missing_file_cannot_be_continued(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--orders", "10", "--database", str(tmp_path / "orders.db"), "--continue"])
    assert ended.value.code == 2
    assert f"--continue: there is no file {tmp_path / 'orders.db'}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["-", ":memory:"])
def test_the_database_must_be_a_file(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--orders", "10", "--database", name])
    assert ended.value.code == 2
    assert f"must be the path of a file, not {name}" in capsys.readouterr().err


def test_an_existing_file_is_left_unchanged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "orders.db"
    file.write_text("mine")
    with pytest.raises(SystemExit) as ended:
        main(["--orders", "10", "--database", str(file)])
    assert ended.value.code == 2
    assert f"{file} exists already; --continue completes it" in capsys.readouterr().err
    assert file.read_text() == "mine"


@pytest.mark.slow
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "orders.db"
    file.write_text("mine")
    assert main(["--orders", "10", "--database", str(file), "--continue"]) == 1
    assert "is not an SQLite database" in capsys.readouterr().err
    assert file.read_text() == "mine"


def test_pending_must_not_exceed_orders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--orders", "10", "--database", str(tmp_path / "orders.db"), "--pending", "11"])
    assert ended.value.code == 2
    assert "--pending must not be more than --orders" in capsys.readouterr().err


async def _feeding(shop: Shop, *, first_id: int = 1, count: int) -> OrderFeeder:
    return OrderFeeder(await _address(shop), first_id=first_id, count=count, clock_ns=time.perf_counter_ns)


async def _address(shop: Shop) -> Address:
    return await reach(ServerUrl.parse(shop.url), timeout_s=5)


@pytest.mark.gen_test
async def test_orders_are_sent_in_arrays_of_a_thousand(shop: Shop) -> None:
    feeding = await _feeding(shop, count=2_500)
    await feeding.send()
    assert sorted(shop.sizes) == [500, 1_000, 1_000]
    assert feeding.taken == 2_500


@pytest.mark.gen_test
async def test_orders_that_are_there_already_count_as_taken(shop: Shop) -> None:
    await (await _feeding(shop, count=30)).send()
    again = await _feeding(shop, first_id=21, count=20)
    await again.send()
    assert again.taken == 20


@pytest.mark.gen_test
async def test_no_orders_send_no_request(shop: Shop) -> None:
    await (await _feeding(shop, count=0)).send()
    assert shop.sizes == []


@pytest.mark.gen_test
async def test_a_refused_order_ends_the_feeding(shop: Shop) -> None:
    # The shop rejects one order in the first array of each client.
    shop.refusals = {1: 409, 1_500: 409}
    feeding = await _feeding(shop, count=20_000)
    with pytest.raises(CommandError, match="POST /orders: 999 accepted of 1000"):
        await feeding.send()
    assert shop.sizes == [1_000, 1_000]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "text", [b"{}", b"\xff", b'{"accepted": 9, "duplicates": 0, "rejected": [], "rejected_total": 0}']
)
async def test_a_202_that_does_not_count_every_order_ends_the_feeding(shop: Shop, text: bytes) -> None:
    shop.answer_to_many = text
    with pytest.raises(
        CommandError, match=r"POST /orders: a 202 (that does not count the orders|whose counts don't add up)"
    ):
        await (await _feeding(shop, count=10)).send()


@pytest.mark.gen_test
async def test_a_refused_array_ends_the_feeding(shop: Shop) -> None:
    shop.refusals = dict.fromkeys(range(1, 11), 409)
    with pytest.raises(CommandError, match="POST /orders: status 422"):
        await (await _feeding(shop, count=10)).send()


@pytest.mark.gen_test
async def test_orders_in_any_status_are_counted(shop: Shop) -> None:
    shop.waiting = [7]
    assert await count_orders(await _address(shop)) == 7
