"""Backups of a database file: what they contain, what they replace, and what is refused."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from models.errors import BackupError, DatabaseRefusedError
from models.sqlite.backup.backup import back_up
from models.sqlite.files.lock import LockedFile
from models.sqlite.files.replacement import Replacement
from tests.models.damage import damage_root
from tests.models.old_schemas import SCHEMA_4
from tests.models.other_programs import create
from tests.models.sqlite.stored_shop import Reports, StoredShop, contents, ignore, orders_in

LONG = '{"note": "' + "x" * 4_000 + '"}'


def run(shop: StoredShop, target: Path) -> str:
    reports = Reports()
    back_up(shop.path, target, report=reports, progress=ignore)
    [line] = reports.lines
    return line


def test_a_backup_beside_a_server_has_all_orders_and_opens_as_a_database(served: StoredShop, tmp_path: Path) -> None:
    served.path.chmod(0o640)
    expected = served.orders()
    backup = tmp_path / "backup.db"
    line = run(served, backup)
    size = f"{backup.stat().st_size:,} bytes"
    assert line.startswith(f"{backup}: 10 orders, the newest accepted at 2025-03-01 12:00:00 UTC; {size}, copied in ")
    assert backup.stat().st_mode & 0o777 == 0o640
    assert sorted(each.name for each in tmp_path.iterdir()) == ["backup.db", "shop"]
    assert orders_in(backup) == expected


def test_a_backup_without_a_server_has_the_commits_in_the_wal_of_a_killed_one(shop: StoredShop, tmp_path: Path) -> None:
    expected = shop.orders()
    shop.kill()
    before = contents(shop.path.parent)
    run(shop, tmp_path / "backup.db")
    after = contents(shop.path.parent)
    assert [before[name] == after[name] for name in ("orders.db", "orders.db-wal")] == [True, True]
    assert orders_in(tmp_path / "backup.db") == expected


def test_a_backup_of_a_stopped_server_creates_no_file_beside_the_database(shop: StoredShop, tmp_path: Path) -> None:
    shop.close()
    before = contents(shop.path.parent)
    run(shop, tmp_path / "backup.db")
    assert contents(shop.path.parent) == before


def test_a_backup_is_a_single_file_that_can_be_read_where_nothing_can_be_written(
    shop: StoredShop, tmp_path: Path
) -> None:
    (tmp_path / "medium").mkdir()
    backup = tmp_path / "medium" / "backup.db"
    run(shop, backup)
    with closing(sqlite3.connect(f"{backup.as_uri()}?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchall() == [("delete",)]
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (10,)
        assert list(contents(backup.parent)) == ["backup.db"]


def test_a_backup_replaces_an_older_one_and_an_empty_file_and_follows_a_link(shop: StoredShop, tmp_path: Path) -> None:
    backup, link = tmp_path / "backup.db", tmp_path / "latest.db"
    backup.touch()
    link.symlink_to(backup)
    for count in (10, 11, 12):
        run(shop, link)
        assert link.is_symlink()
        with closing(sqlite3.connect(backup)) as connection:
            assert connection.execute("SELECT count(*) FROM orders").fetchone() == (count,)
        shop.insert()


@pytest.mark.parametrize(
    "name", ["orders.db", "orders.db-wal", "orders.db.lock", "link.db", "hard.db", "via/orders.db"]
)
def test_the_database_itself_is_not_overwritten(shop: StoredShop, tmp_path: Path, name: str) -> None:
    folder = shop.path.parent
    (folder / "link.db").symlink_to("orders.db")
    (folder / "hard.db").hardlink_to(shop.path)
    (folder / "via").symlink_to(".")
    with pytest.raises(BackupError, match=r"belongs to the database itself"):
        run(shop, folder / name)
    assert len(shop.orders()) == 10


@pytest.mark.parametrize("kind", ["text", "database", "other program", "with WAL", "device"])
def test_a_file_that_is_no_backup_is_not_overwritten(shop: StoredShop, tmp_path: Path, kind: str) -> None:
    (tmp_path / "there").mkdir()
    target = tmp_path / "there" / "file"
    match kind:
        case "text":
            target.write_text("a list")
        case "database":
            StoredShop(target).close()
        case "other program":
            create(target, "CREATE TABLE notes (text)")
        case "with WAL":
            run(shop, target)
            Path(f"{target}-wal").touch()
        case "device":
            target.symlink_to("/dev/null")
    before = {} if kind == "device" else contents(target.parent)
    with pytest.raises(BackupError, match=r"exists, and is not a backup: choose another name for the backup$"):
        run(shop, target)
    assert kind == "device" or contents(target.parent) == before


def test_a_folder_or_a_missing_folder_is_refused(shop: StoredShop, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match=r"is a folder: choose a name for the backup in it$"):
        run(shop, tmp_path)
    with pytest.raises(BackupError, match=r"backup.db can't be written: No such file or directory$"):
        run(shop, tmp_path / "missing" / "backup.db")


def test_a_missing_an_empty_or_another_programs_database_has_no_backup(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    for content, text in (
        (None, "does not exist, or is empty$"),
        (b"", "does not exist, or is empty$"),
        (b"a list" * 1_000, "orders.db can't be read: file is not a database$"),
        (b"SQL", "is another program's database$"),
    ):
        if content == b"SQL":
            path.unlink()
            create(path, "CREATE TABLE notes (text)")
        elif content is not None:
            path.write_bytes(content)
        before = contents(tmp_path)
        with pytest.raises(DatabaseRefusedError, match=text):
            back_up(path, tmp_path / "backup.db", report=Reports(), progress=ignore)
        assert contents(tmp_path) == before


def test_a_file_of_an_older_version_has_a_backup(tmp_path: Path) -> None:
    create(tmp_path / "orders.db", *SCHEMA_4)
    back_up(tmp_path / "orders.db", tmp_path / "backup.db", report=Reports(), progress=ignore)
    assert [order.order_id for order in orders_in(tmp_path / "backup.db")] == [11, 12, 13, 14]


def test_a_file_that_a_server_uses_under_another_path_is_not_copied_without_its_wal(
    served: StoredShop, tmp_path: Path
) -> None:
    other = tmp_path / "other.db"
    other.hardlink_to(served.path)
    with pytest.raises(DatabaseRefusedError, match=r"process [0-9]+: use the path that the server uses$"):
        back_up(other, tmp_path / "backup.db", report=Reports(), progress=ignore)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["other.db", "shop"]


def test_a_wal_of_another_database_is_not_copied(shop: StoredShop, tmp_path: Path) -> None:
    shop.kill()
    other = StoredShop(tmp_path / "other.db")
    other.close()
    shop.path.write_bytes(other.path.read_bytes())
    with pytest.raises(DatabaseRefusedError, match=r"orders.db-wal does not belong to"):
        run(shop, tmp_path / "backup.db")


def test_a_damaged_copy_does_not_replace_an_older_backup(shop: StoredShop, tmp_path: Path) -> None:
    backup = tmp_path / "backup.db"
    run(shop, backup)
    older = backup.read_bytes()
    shop.close()
    damage_root(shop.path, "orders_user")
    with pytest.raises(
        BackupError, match=r"orders\.db is damaged, so .*backup\.db was not written: .*Page [0-9]+: [^\n]*$"
    ):
        run(shop, backup)
    assert backup.read_bytes() == older
    assert sorted(each.name for each in tmp_path.iterdir()) == ["backup.db", "shop"]


@pytest.mark.parametrize("step", ["Copying", "Checking"])
def test_an_interrupted_backup_leaves_the_older_one_and_no_other_file(
    shop: StoredShop, tmp_path: Path, step: str
) -> None:
    backup = tmp_path / "backup.db"
    run(shop, backup)
    older = backup.read_bytes()
    shop.insert(1_000, metadata=LONG)

    def interrupt(now: str, done: int = 0, total: int | None = None, /) -> None:
        if now == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        back_up(shop.path, backup, report=Reports(), progress=interrupt)
    assert backup.read_bytes() == older
    assert sorted(each.name for each in tmp_path.iterdir()) == ["backup.db", "shop"]


def test_two_backups_to_one_file_do_not_run_together_and_the_rest_of_a_killed_one_is_removed(
    shop: StoredShop, tmp_path: Path
) -> None:
    rest = tmp_path / "backup.db.incomplete"
    running = LockedFile(rest)
    running.replace_content(b"x" * 10_000)
    with pytest.raises(BackupError, match=r"another backup to .*backup.db is running$"):
        run(shop, tmp_path / "backup.db")
    assert rest.stat().st_size == 10_000
    running.close()
    run(shop, tmp_path / "backup.db")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["backup.db", "shop"]


def test_an_interrupted_replacement_is_finished_before_the_backup(tmp_path: Path) -> None:
    old, new = StoredShop(tmp_path / "orders.db", orders=5), StoredShop(tmp_path / "new.db", orders=7)
    expected = new.orders()
    old.close()
    new.close()
    replacement = Replacement(old.path)
    new.path.rename(replacement.incomplete)
    replacement.decide()
    back_up(old.path, tmp_path / "backup.db", report=Reports(), progress=ignore)
    assert orders_in(tmp_path / "backup.db") == expected
