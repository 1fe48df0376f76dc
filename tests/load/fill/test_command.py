"""Tests `python -m load.fill` with few orders: the content of the file, feeding a server, and errors."""

import re
import sqlite3
from pathlib import Path

import pytest

from load.cli.errors import CommandError
from load.fill.command import OrderFeeder, main
from load.http.address import ServerUrl, reach
from tests.load.shop import Shop
from tests.models.postgresql.tables import check_tables, recount
from tests.postgresql.databases import connect, execute, temporary_database


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
def test_a_file_is_filled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "orders.db"
    assert main(["--orders", "2500", "--database", str(file)]) == 0
    out = capsys.readouterr().out
    assert re.fullmatch(rf"{file}: 2,500 orders, 0 MiB, in \d+\.\d s, [\d,]+ orders/s\n", out), out
    assert [path.name for path in tmp_path.glob("*-*")] == []
    assert _statuses(file) == {"Completed": 2_500}


@pytest.mark.postgresql
def test_a_postgresql_database_is_filled_once(capsys: pytest.CaptureFixture[str]) -> None:
    with temporary_database() as url:
        assert main(["--orders", "2500", "--database", url]) == 0
        out = capsys.readouterr().out
        assert re.fullmatch(rf"{re.escape(url)}: 2,500 orders, in \d+\.\d s, [\d,]+ orders/s\n", out), out
        with connect(url) as connection:
            assert execute(connection, "SELECT min(order_id), max(order_id), count(*) FROM orders") == [(1, 2500, 2500)]
            assert execute(connection, "SELECT count(*) FROM ends WHERE status = 'c'") == [(2500,)]
            assert recount(connection).completed == 2_500
            check_tables(connection)
        assert main(["--orders", "10", "--database", url]) == 1
        assert "the database has 2,500 orders already" in capsys.readouterr().err


def test_a_password_in_the_url_is_refused_and_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    for url in ("postgresql://shop:hidden@db.example/orders", "postgresql://db.example/orders?password=hidden"):
        with pytest.raises(SystemExit) as ended:
            main(["--orders", "10", "--database", url])
        assert ended.value.code == 2
        error = capsys.readouterr().err
        assert "argument --database: must not have a password: set PGPASSWORD" in error
        assert "hidden" not in error


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
    assert f"{file} exists already" in capsys.readouterr().err
    assert file.read_text() == "mine"


async def _feeding(shop: Shop, *, first_id: int = 1, count: int) -> OrderFeeder:
    return OrderFeeder(await reach(ServerUrl.parse(shop.url), timeout_s=5), first_id=first_id, count=count)


@pytest.mark.gen_test
async def test_orders_are_sent_in_arrays_of_a_thousand(shop: Shop) -> None:
    feeding = await _feeding(shop, count=2_500)
    await feeding.send()
    assert sorted(shop.sizes) == [500, 1_000, 1_000]
    assert feeding.taken == 2_500


@pytest.mark.gen_test
async def test_orders_that_are_there_already_end_the_feeding(shop: Shop) -> None:
    await (await _feeding(shop, count=30)).send()
    with pytest.raises(CommandError, match="POST /orders: 10 accepted of 20"):
        await (await _feeding(shop, first_id=21, count=20)).send()


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
