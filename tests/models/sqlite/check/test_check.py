"""The check and the repair of a database file, with each kind of error."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from models.errors import BackupError, DatabaseInUseError, DatabaseRefusedError
from models.sqlite.check.check import MAX_LISTED, check
from models.sqlite.check.repair import repair
from models.sqlite.files.lock import DatabaseLock
from tests.models.blocks import check_blocks
from tests.models.damage import change_row, damage_root, damage_rows, hidden_index
from tests.models.old_schemas import SCHEMA_1, SCHEMA_2, SCHEMA_3, SCHEMA_4, SCHEMA_5
from tests.models.other_programs import create
from tests.models.sqlite.stored_shop import Reports, StoredShop, contents, ignore, orders_in

BLOCK = 2_048


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[StoredShop]:
    shop = StoredShop(tmp_path / "orders.db", orders=BLOCK + 10)
    yield shop
    shop.close()


def wrong_block(number: int) -> str:
    return f"the row of block {number} does not match the orders of the block"


def errors_in(path: Path) -> list[str]:
    """The lines that a check reports, without the path."""
    reports = Reports()
    is_fine = check(path, report=reports, progress=ignore)
    lines = [line.removeprefix(f"{path}: ") for line in reports.lines]
    assert is_fine is (lines == ["no errors found"])
    return [] if is_fine else lines


def repair_all(path: Path) -> None:
    """Repairs the file, and checks that all orders, and nothing but the totals and indexes, have changed."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        before = _rows(connection)
    old_files = contents(path.parent)
    reports = Reports()
    assert repair(path, report=reports, progress=ignore)
    [old] = [file for file in path.parent.iterdir() if re.fullmatch(r"orders\.db\.old-[0-9]+-[0-9]+", file.name)]
    assert old.read_bytes() == old_files[path.name]
    assert reports.lines[-1].startswith(f"repaired {path}: {len(before['orders']):,} orders, the newest accepted at ")
    assert reports.lines[-1].endswith(f"; the old database is now {old}")
    assert errors_in(path) == []
    with closing(sqlite3.connect(path)) as connection:
        assert _rows(connection) == before
        check_blocks(connection)


def _rows(connection: sqlite3.Connection) -> dict[str, list[tuple[object, ...]]]:
    tables = {
        table: connection.execute(f"SELECT * FROM {table} NOT INDEXED").fetchall() for table in ("orders", "attempts")
    }
    tables["settings"] = connection.execute("SELECT paused, clock_step_us FROM totals").fetchall()
    tables["schema"] = sorted(connection.execute("SELECT type, name, sql FROM sqlite_schema").fetchall())
    return tables


def test_a_database_that_a_server_uses_is_checked_and_not_repaired(shop: StoredShop) -> None:
    lock = DatabaseLock(shop.path)
    lock.acquire()
    try:
        assert errors_in(shop.path) == []
        create(shop.path, "UPDATE totals SET pending = 3")
        assert errors_in(shop.path) == [f"totals has pending 3, counted {BLOCK + 6}"]
        with pytest.raises(DatabaseInUseError):
            repair(shop.path, report=Reports(), progress=ignore)
    finally:
        lock.release()


def test_a_check_without_a_server_changes_no_file(shop: StoredShop) -> None:
    shop.kill()
    before = contents(shop.path.parent)
    assert errors_in(shop.path) == []
    after = contents(shop.path.parent)
    assert [before[name] == after[name] for name in ("orders.db", "orders.db-wal")] == [True, True]


def test_nothing_is_repaired_if_there_is_no_error(shop: StoredShop) -> None:
    shop.close()
    before = contents(shop.path.parent)
    reports = Reports()
    assert repair(shop.path, report=reports, progress=ignore)
    assert reports.lines == [f"{shop.path}: no errors found"]
    assert contents(shop.path.parent) == before


@pytest.mark.parametrize(
    ("statement", "errors"),
    [
        (
            "UPDATE totals SET pending = 7, processing_us = -1",
            [f"totals has pending 7, counted {BLOCK + 6}", "totals has processing_us -1, counted 0"],
        ),
        ("DELETE FROM totals", ["totals has 0 rows instead of one"]),
        ("DELETE FROM blocks WHERE block = 1", [wrong_block(1)]),
        ("UPDATE blocks SET first_us = first_us + 1", [wrong_block(0), wrong_block(1)]),
        ("UPDATE blocks SET completed = 0", [wrong_block(0)]),
        ("UPDATE blocks SET processing = 2 WHERE block = 0", [wrong_block(0)]),
        ("UPDATE blocks SET processing_chunks = 2 WHERE block = 0", [wrong_block(0)]),
        ("INSERT INTO blocks VALUES (7, 1, 1, 0, 0, 0)", [wrong_block(7)]),
    ],
)
def test_wrong_totals_and_blocks_are_found_and_repaired(shop: StoredShop, statement: str, errors: list[str]) -> None:
    shop.kill()
    create(shop.path, "UPDATE totals SET paused = 1, clock_step_us = 5", statement)
    assert errors_in(shop.path) == errors
    if statement == "DELETE FROM totals":
        assert repair(shop.path, report=Reports(), progress=ignore)
        assert errors_in(shop.path) == []
    else:
        repair_all(shop.path)


def test_additional_bits_of_a_block_are_no_error(shop: StoredShop) -> None:
    create(shop.path, "UPDATE blocks SET completed = completed | 4, processing_chunks = processing_chunks | 8")
    assert errors_in(shop.path) == []


def test_a_row_that_an_index_lacks_is_found_and_repaired(shop: StoredShop) -> None:
    shop.close()
    with hidden_index(shop.path, "orders_user"):
        change_row(shop.path, 7, "user_id", "99")
    [missing] = errors_in(shop.path)
    assert re.fullmatch("integrity_check: row 7 missing from index orders_user", missing)
    repair_all(shop.path)


@pytest.mark.parametrize("name", ["orders_order_id", "orders_pending", "orders_failed", "blocks_processing"])
def test_a_damaged_index_is_found_and_repaired(shop: StoredShop, name: str) -> None:
    shop.close()
    damage_root(shop.path, name)
    assert any(re.match("integrity_check: Page [0-9]+: ", line) for line in errors_in(shop.path))
    repair_all(shop.path)
    assert len(orders_in(shop.path)) == BLOCK + 10


@pytest.mark.parametrize("name", ["totals", "blocks"])
def test_a_damaged_table_that_can_be_computed_is_repaired(shop: StoredShop, name: str) -> None:
    shop.close()
    damage_root(shop.path, name)
    assert len(errors_in(shop.path)) >= 2
    assert repair(shop.path, report=Reports(), progress=ignore)
    assert errors_in(shop.path) == []
    assert len(orders_in(shop.path)) == BLOCK + 10


def test_damaged_measurements_do_not_prevent_a_repair(shop: StoredShop) -> None:
    shop.close()
    damage_root(shop.path, "measurements")
    assert len(errors_in(shop.path)) == 1
    assert repair(shop.path, report=Reports(), progress=ignore)
    assert errors_in(shop.path) == []
    assert len(orders_in(shop.path)) == BLOCK + 10


def test_damaged_orders_are_found_and_not_repaired(shop: StoredShop) -> None:
    shop.insert(metadata='{"note": "here"}')
    shop.close()
    damage_rows(shop.path, '{"note": "here"}')
    before = contents(shop.path.parent)
    assert any(re.match("integrity_check: .*Page [0-9]+: ", line) for line in errors_in(shop.path))
    assert contents(shop.path.parent) == before
    with pytest.raises(BackupError, match=r"was not changed, because orders are damaged: .*: restore a backup$"):
        repair(shop.path, report=Reports(), progress=ignore)
    assert contents(shop.path.parent) == before


def test_invalid_orders_are_found_and_the_rest_is_repaired(shop: StoredShop) -> None:
    shop.close()
    invalid_values = {
        3: ("item_ids", "'[1,'"),
        4: ("item_ids", "'1'"),
        5: ("metadata", "'{'"),
        6: ("user_id", "'one'"),
        7: ("total_amount", "0.5"),
        9: ("item_ids", "'[]'"),
    }
    for order_id, (column, value) in invalid_values.items():
        change_row(shop.path, order_id, column, value)
    invalid = [f"order {n} has an invalid value" for n in (3, 4, 5, 6, 7)]
    assert errors_in(shop.path) == invalid
    before = contents(shop.path.parent)
    reports = Reports()
    assert not repair(shop.path, report=reports, progress=ignore)
    assert contents(shop.path.parent) == before
    create(shop.path, "UPDATE totals SET failed = 9")
    assert not repair(shop.path, report=reports, progress=ignore)
    assert errors_in(shop.path) == invalid


def test_an_order_with_an_unknown_status_is_found(shop: StoredShop) -> None:
    shop.close()
    change_row(shop.path, 7, "status", "'Lost'")
    assert errors_in(shop.path) == [
        f"totals has pending {BLOCK + 6}, counted {BLOCK + 5}",
        "order 7 has an invalid value",
    ]


def test_many_errors_of_one_kind_are_counted(shop: StoredShop) -> None:
    shop.close()
    create(shop.path, f"UPDATE orders SET item_ids = '' WHERE order_id <= {MAX_LISTED + 1_500}")
    *listed, last = errors_in(shop.path)
    assert len(listed) == MAX_LISTED
    assert last == "1,500 more orders have an invalid value"


@pytest.mark.parametrize("schema", [SCHEMA_1, SCHEMA_2, SCHEMA_3, SCHEMA_4, SCHEMA_5])
def test_a_file_of_an_older_version_is_checked_and_repaired(tmp_path: Path, schema: list[str]) -> None:
    path = tmp_path / "orders.db"
    create(path, *schema)
    assert errors_in(path) == []
    create(path, "UPDATE totals SET pending = 9")
    damage_root(path, "orders_order_id")
    lines = errors_in(path)
    assert lines[-1].startswith("totals has pending 9, counted ")
    assert repair(path, report=Reports(), progress=ignore)
    assert errors_in(path) == []
    # The server upgrades the repaired file.
    assert len(orders_in(path)) in (3, 4, 6)
    assert errors_in(path) == []


def test_a_missing_file_another_programs_file_and_a_wrong_wal_are_refused(shop: StoredShop, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    for command in (check, repair):
        with pytest.raises((BackupError, DatabaseRefusedError), match=r"other\.db does not exist, or is empty$"):
            command(other, report=Reports(), progress=ignore)
    create(other, "CREATE TABLE notes (text)")
    for command in (check, repair):
        with pytest.raises(DatabaseRefusedError, match=r"is another program's database$"):
            command(other, report=Reports(), progress=ignore)
    other.unlink()
    StoredShop(other).close()
    shop.kill()
    shop.path.write_bytes(other.read_bytes())
    for command in (check, repair):
        with pytest.raises(DatabaseRefusedError, match=r"orders\.db-wal does not belong to"):
            command(shop.path, report=Reports(), progress=ignore)


def test_an_interrupted_repair_changes_nothing(shop: StoredShop) -> None:
    shop.close()
    create(shop.path, "UPDATE totals SET failed = 9")
    before = contents(shop.path.parent)

    def interrupt(now: str, done: int = 0, total: int | None = None, /) -> None:
        if now == "Copying orders":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        repair(shop.path, report=Reports(), progress=interrupt)
    assert contents(shop.path.parent) == before
