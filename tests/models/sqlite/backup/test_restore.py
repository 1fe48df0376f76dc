"""Restores of a database file: what replaces what, what is kept, and what is refused."""

from pathlib import Path

import pytest

from models.errors import BackupError, DatabaseInUseError, DatabaseRefusedError
from models.sqlite.backup.backup import back_up
from models.sqlite.backup.restore import restore
from models.sqlite.files.lock import DatabaseLock
from models.sqlite.files.opening import open_database
from models.sqlite.schema.migrations import SCHEMA_VERSION
from tests.models.damage import damage_root
from tests.models.old_schemas import SCHEMA_4
from tests.models.other_programs import create
from tests.models.sqlite.backup.killed import Killed
from tests.models.sqlite.stored_shop import Reports, contents, ignore, orders_in


def test_a_restore_replaces_the_database_and_keeps_the_old_files(killed: Killed) -> None:
    killed.path.chmod(0o640)
    lines = killed.restore()
    assert killed.path.stat().st_mode & 0o777 == 0o640
    old_files = killed.assert_restored()
    assert lines == [
        f"restored {killed.path} from {killed.backup}: 10 orders, the newest accepted at 2025-03-01 12:00:00 UTC",
        *(f"the old file is now {file}" for file in old_files),
        "Orders that were accepted after the backup was made are missing: send them again. Orders that were processed"
        " after it was made will be processed again.",
    ]


def test_the_old_files_can_be_restored_again_with_their_wal(killed: Killed) -> None:
    killed.restore()
    [old, *_] = sorted(killed.path.parent.glob("orders.db.old-*"))
    reports = Reports()
    restore(killed.path, old, report=reports, progress=ignore)
    assert orders_in(killed.path) == killed.latest
    # Both restores were made in one second, but no file was overwritten.
    assert len([name for name in contents(killed.path.parent) if name.startswith("orders.db.old-")]) == 4


def test_a_backup_is_restored_where_no_database_was(killed: Killed, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    path = tmp_path / "new" / "orders.db"
    reports = Reports()
    restore(path, killed.backup, report=reports, progress=ignore)
    assert len(reports.lines) == 2
    assert list(contents(path.parent)) == ["orders.db"]
    assert orders_in(path) == killed.in_backup


def test_a_damaged_database_and_a_wal_without_its_database_are_replaced(killed: Killed) -> None:
    killed.path.write_bytes(b"noise" * 5_000)
    killed.files = contents(killed.path.parent)
    killed.restore()
    killed.assert_restored()
    for file in killed.path.parent.iterdir():
        file.unlink()
    wal = killed.path.with_name("orders.db-wal")
    wal.write_bytes(killed.files["orders.db-wal"])
    killed.restore()
    [old] = killed.path.parent.glob("orders.db.old-*")
    assert old.read_bytes() == killed.files["orders.db-wal"]
    assert orders_in(killed.path) == killed.in_backup


def test_a_backup_of_an_older_version_is_restored(killed: Killed) -> None:
    killed.backup.unlink()
    create(killed.backup, *SCHEMA_4)
    killed.restore()
    assert [order.order_id for order in orders_in(killed.path)] == [11, 12, 13, 14]


def test_nothing_is_restored_while_a_server_runs(killed: Killed) -> None:
    lock = DatabaseLock(killed.path)
    lock.acquire()
    try:
        with pytest.raises(DatabaseInUseError, match=r"orders\.db is in use by another server, process [0-9]+$"):
            killed.restore()
    finally:
        lock.release()
    killed.assert_unchanged()


def test_a_restored_database_is_not_taken_for_a_backup(killed: Killed, tmp_path: Path) -> None:
    killed.restore()
    other = tmp_path / "other.db"
    open_database(other)
    with pytest.raises(BackupError, match="exists, and is not a backup"):
        back_up(other, killed.path, report=Reports(), progress=ignore)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "does not exist, or is not a regular file$"),
        (b"", "is another program's database$"),
        (b"a list" * 1_000, "can't be read: file is not a database$"),
    ],
)
def test_a_file_that_is_no_database_changes_nothing(killed: Killed, content: bytes | None, text: str) -> None:
    killed.backup.unlink()
    if content is not None:
        killed.backup.write_bytes(content)
    with pytest.raises((BackupError, DatabaseRefusedError), match=text):
        killed.restore()
    killed.assert_unchanged()


@pytest.mark.parametrize(
    ("statements", "text"),
    [
        (["PRAGMA application_id = 1"], "is another program's database$"),
        (
            [f"PRAGMA user_version = {SCHEMA_VERSION + 1}"],
            f"has schema version {SCHEMA_VERSION + 1}, this program knows",
        ),
        (
            [
                "CREATE TABLE moved (target)",
                "INSERT INTO moved VALUES ('postgresql://other')",
                "PRAGMA application_id = 1330791501",
            ],
            "were moved: start the server with --database postgresql://other ",
        ),
    ],
)
def test_a_database_with_other_content_changes_nothing(killed: Killed, statements: list[str], text: str) -> None:
    create(killed.backup, *statements)
    with pytest.raises(DatabaseRefusedError, match=text):
        killed.restore()
    killed.assert_unchanged()


def test_a_damaged_backup_changes_nothing(killed: Killed) -> None:
    damage_root(killed.backup, "orders_user")
    with pytest.raises(BackupError, match=r"backup\.db is damaged, so .*orders\.db was not changed: Page [0-9]+: "):
        killed.restore()
    killed.assert_unchanged()


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        ("-wal", r"backup\.db-wal does not belong to"),
        ("-journal", r"backup\.db-journal has changes that another program did not finish$"),
    ],
)
def test_a_backup_with_a_log_of_other_changes_changes_nothing(killed: Killed, suffix: str, text: str) -> None:
    Path(f"{killed.backup}{suffix}").write_bytes(killed.files["orders.db-wal"])
    with pytest.raises(DatabaseRefusedError, match=text):
        killed.restore()
    killed.assert_unchanged()


def test_a_database_is_not_restored_from_itself(killed: Killed) -> None:
    link = killed.backup.with_name("link.db")
    link.symlink_to(killed.path)
    killed.backup = link
    with pytest.raises(BackupError, match=r"link\.db is the database itself"):
        killed.restore()
    killed.assert_unchanged()


def test_a_failed_restore_leaves_no_new_database_behind(killed: Killed, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    damage_root(killed.backup, "orders_user")
    with pytest.raises(BackupError, match="is damaged"):
        restore(tmp_path / "new" / "orders.db", killed.backup, report=Reports(), progress=ignore)
    assert contents(tmp_path / "new") == {}
