"""Opening database files, and rejecting files without changing them."""

import re
import signal
import sqlite3
import stat
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from models.errors import DatabaseRefusedError
from models.listing import Listing
from models.order import Attempt, AttemptRecord, Ending, Status
from models.sqlite.database import RetryingSqliteDatabase
from models.sqlite.files.opening import open_database
from models.sqlite.schema.migrations import SCHEMA_VERSION
from models.sqlite.schema.tables import APPLICATION_ID
from models.sqlite.store import SqliteStore
from models.writes.attempts import Outcome
from models.writes.commands import SetPaused
from models.writes.insertion import Insertion
from tests.models.blocks import Block, check_blocks, computed_blocks, connection_of, stored_blocks
from tests.models.damage import damage_root
from tests.models.old_schemas import SCHEMA_1, SCHEMA_2, SCHEMA_3, SCHEMA_4, SCHEMA_5
from tests.models.other_programs import another_program, create
from tests.models.privileges import without_privileges
from tests.models.samples import Clock, new_order
from tests.models.shorthand_store import ShorthandStore

ROOT = Path(__file__).resolve().parents[4]


def store_in(database: RetryingSqliteDatabase, clock: Clock) -> ShorthandStore:
    return ShorthandStore(SqliteStore(database, clock=clock))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_missing_file_is_created_with_the_current_schema(tmp_path: Path) -> None:
    database = open_database(tmp_path / "orders.db")
    assert database.is_closed()
    with database.connection_context():
        assert (database.application_id, database.user_version) == (APPLICATION_ID, SCHEMA_VERSION)
        tables = ["archives", "attempts", "blocks", "fingerprints", "measurements", "orders", "totals"]
        assert database.get_tables() == tables
        assert store_in(database, Clock()).totals().orders == 0


def test_a_database_is_created_in_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "orders.db").touch()
    with open_database(tmp_path / "orders.db").connection_context():
        pass
    assert (tmp_path / "orders.db").read_bytes().startswith(b"SQLite format 3\0")


def test_a_database_without_tables_is_used(tmp_path: Path) -> None:
    create(tmp_path / "orders.db", "CREATE TABLE t (a)", "DROP TABLE t", "VACUUM")
    with open_database(tmp_path / "orders.db").connection_context():
        pass


def test_a_reopened_file_contains_all_orders(tmp_path: Path, clock: Clock) -> None:
    for order_id in (1, 2, 3):
        database = open_database(tmp_path / "orders.db")
        with database.connection_context():
            store = store_in(database, clock)
            assert store.totals().orders == order_id - 1
            assert store.insert(new_order(order_id)) == [Insertion.ACCEPTED]


def test_a_file_reopened_after_a_crash_contains_the_orders_of_its_wal(tmp_path: Path, clock: Clock) -> None:
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    database = open_database(tmp_path / "orders.db")
    with database.connection_context():
        store_in(database, clock).insert(new_order(1))
        for name, content in contents(tmp_path).items():
            if not name.endswith("-shm"):
                (crashed / name).write_bytes(content)
    database = open_database(crashed / "orders.db")
    with database.connection_context():
        assert store_in(database, clock).totals().pending == 1


def test_a_file_with_schema_1_is_migrated_and_works(tmp_path: Path, clock: Clock) -> None:
    create(tmp_path / "orders.db", *SCHEMA_1)
    database = open_database(tmp_path / "orders.db")
    with database.connection_context():
        store = store_in(database, clock)
        assert [order and order.metadata for order in store.find([11, 12, 13])] == [None, '{ "a": 1 }', None]
        assert store.recover() == 1
        claimed = store.claim(10)
        assert [(order.order_id, order.attempts, order.claims) for order in claimed] == [(12, 3, 4), (13, 1, 1)]
        store.finish(*(Outcome(order.sequence, order.claims, Status.COMPLETED) for order in claimed))
        assert store.insert(new_order(14)) == [Insertion.ACCEPTED]
        assert (store.totals().completed, store.totals().pending) == (3, 1)


def listed(store: ShorthandStore, listing: Listing) -> list[int]:
    return [order.order_id for order in store.list_orders(listing).orders]


def test_a_file_with_schema_2_is_migrated_and_works(tmp_path: Path, clock: Clock) -> None:
    create(tmp_path / "orders.db", *SCHEMA_2)
    database = open_database(tmp_path / "orders.db")
    with database.connection_context():
        store = store_in(database, clock)
        assert store.insert(new_order(14)) == [Insertion.ACCEPTED]
        assert listed(store, Listing(limit=9)) == [14, 13, 12, 11]
        assert listed(store, Listing(limit=9, user_id=1, created_until_us=31)) == [13, 11]
        assert listed(store, Listing(limit=9, status=Status.COMPLETED)) == [11]
        assert listed(store, Listing(limit=9, status=Status.CANCELLED)) == [12]
        assert [order.order_id for order in store.claim(10)] == [13, 14]


def test_a_file_with_schema_3_is_migrated_and_works(tmp_path: Path, clock: Clock) -> None:
    create(tmp_path / "orders.db", *SCHEMA_3)
    database = open_database(tmp_path / "orders.db")
    with database.connection_context():
        store = store_in(database, clock)
        # The old program did not store when attempts began.
        assert store.history(11) == [AttemptRecord(2, None, 15, Ending.COMPLETED, None)]
        assert store.history(12) == [AttemptRecord(1, None, None, None, None)]
        assert store.history(13) == []
        assert store.recover(interrupted) == 1
        assert store.history(12) == [AttemptRecord(1, None, clock.now_us, Ending.INTERRUPTED, "killed")]
        assert store.insert(new_order(14)) == [Insertion.ACCEPTED]
        assert [order.order_id for order in store.claim(10)] == [12, 13, 14]
        assert store.history(13) == [AttemptRecord(2, clock.now_us, None, None, None)]


def test_a_file_with_schema_4_is_migrated_and_works(tmp_path: Path, clock: Clock) -> None:
    create(tmp_path / "orders.db", *SCHEMA_4)
    database = open_database(tmp_path / "orders.db")
    with database.connection_context():
        store = store_in(database, clock)
        connection = connection_of(database)
        assert (
            stored_blocks(connection)
            == computed_blocks(connection)
            == [
                Block(0, 5, 30, 0b11, 1, 0b10),
                Block(3, 40, 40, 0),
            ]
        )
        assert listed(store, Listing(limit=9, status=Status.COMPLETED)) == [12, 11]
        assert listed(store, Listing(limit=9, created_from_us=20)) == [14, 13]
        assert store.recover() == 1
        assert store.insert(new_order(15)) == [Insertion.ACCEPTED]
        check_blocks(connection)
        assert listed(store, Listing(limit=9, created_from_us=40)) == [15, 14]


def test_a_file_with_schema_5_is_migrated_and_works(tmp_path: Path, clock: Clock) -> None:
    create(tmp_path / "orders.db", *SCHEMA_5)
    database = open_database(tmp_path / "orders.db")
    with database.connection_context():
        store = store_in(database, clock)
        connection = connection_of(database)
        assert (
            stored_blocks(connection)
            == computed_blocks(connection)
            == [
                Block(0, 5, 30, 0b1, 3, 0b110),
                Block(3, 40, 40, 0, 0, 0),
                Block(4, 50, 50, 0, 1, 0b1),
            ]
        )
        assert listed(store, Listing(limit=9, status=Status.PROCESSING)) == [17, 15, 14, 13]
        assert store.recover(interrupted) == 4
        assert listed(store, Listing(limit=9, status=Status.PROCESSING)) == []
        check_blocks(connection)


@pytest.mark.parametrize("old", [SCHEMA_1, SCHEMA_2, SCHEMA_3, SCHEMA_4, SCHEMA_5], ids=["1", "2", "3", "4", "5"])
def test_a_file_without_orders_is_migrated(tmp_path: Path, old: list[str], clock: Clock) -> None:
    deletes = ["DELETE FROM orders", *(["DELETE FROM blocks"] if old is SCHEMA_5 else [])]
    create(tmp_path / "orders.db", *old, *deletes)
    database = open_database(tmp_path / "orders.db")
    with database.connection_context():
        assert stored_blocks(connection_of(database)) == []
        assert listed(store_in(database, clock), Listing(limit=9, created_from_us=0)) == []


def test_processing_can_be_paused_in_a_migrated_file(tmp_path: Path, clock: Clock) -> None:
    create(tmp_path / "orders.db", *SCHEMA_3)
    database = open_database(tmp_path / "orders.db")
    with database.connection_context():
        store = store_in(database, clock)
        assert not store.totals().is_paused
        assert store.write([SetPaused(True)]) == [True]
        assert store.claim(10) == []


def interrupted(attempt: Attempt) -> Outcome:
    return Outcome(attempt.sequence, attempt.claim, Status.PENDING, "killed", 0, Ending.INTERRUPTED)


DYING = """
import os, signal, sys
from pathlib import Path
from models.sqlite.database import RetryingSqliteDatabase
from models.sqlite.files.opening import open_database

execute = RetryingSqliteDatabase.execute_sql

def execute_and_die(self, sql, params=None):
    result = execute(self, sql, params)
    if sys.argv[2] in sql:
        os.kill(os.getpid(), signal.SIGKILL)
    return result

RetryingSqliteDatabase.execute_sql = execute_and_die
open_database(Path(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "dying_at", ["orders_cancelled", "INTO blocks", "DROP INDEX orders_completed", "DROP INDEX orders_processing"]
)
def test_a_kill_during_a_migration_leaves_the_old_schema(tmp_path: Path, clock: Clock, dying_at: str) -> None:
    path = tmp_path / "orders.db"
    # Enough orders for SQLite to write a part of the migration to the WAL before the commit.
    more = """INSERT INTO orders WITH RECURSIVE n(i) AS (VALUES (100) UNION ALL SELECT i + 1 FROM n WHERE i < 200000)
        SELECT i, i, 1, '[1]', 1, NULL, 'Completed', 1, 1, NULL, i, i, NULL FROM n"""
    create(path, *SCHEMA_2, more)
    before = contents(tmp_path)
    done = subprocess.run([sys.executable, "-c", DYING, str(path), dying_at], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    left = contents(tmp_path)
    assert left["orders.db"] == before["orders.db"]
    assert len(left["orders.db-wal"]) > 1_000_000
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        assert connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (7,)
    database = open_database(path)
    with database.connection_context():
        wanted = Listing(limit=1, user_id=1, created_until_us=1_000)
        assert listed(store_in(database, clock), wanted) == [999]
        assert stored_blocks(connection_of(database)) == computed_blocks(connection_of(database))


@pytest.mark.parametrize("index", ["orders_created", "orders_completed"])
def test_a_file_with_a_damaged_index_is_not_migrated_and_not_changed(tmp_path: Path, index: str) -> None:
    create(tmp_path / "orders.db", *SCHEMA_4)
    damage_root(tmp_path / "orders.db", index)
    before = contents(tmp_path)
    with pytest.raises(DatabaseRefusedError, match=r"orders\.db can't be opened: .*malformed"):
        open_database(tmp_path / "orders.db")
    assert contents(tmp_path)["orders.db"] == before["orders.db"]


@pytest.mark.parametrize("old", [SCHEMA_1, SCHEMA_2, SCHEMA_3, SCHEMA_4], ids=["1", "2", "3", "4"])
def test_a_migrated_file_has_the_schema_of_a_new_file(tmp_path: Path, old: list[str]) -> None:
    create(tmp_path / "old.db", *old)
    open_database(tmp_path / "old.db")
    open_database(tmp_path / "new.db")

    def shape(name: str) -> object:
        with closing(sqlite3.connect(tmp_path / name)) as connection:
            names = [
                (kind, name, re.sub(r'["\s]', "", sql) if kind == "index" else None)
                for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY name")
            ]
            assert connection.execute("PRAGMA user_version").fetchone()[0] == SCHEMA_VERSION
            columns = [
                connection.execute(f"SELECT name, type, \"notnull\", pk FROM pragma_table_info('{table}')").fetchall()
                for table in ("attempts", "blocks", "measurements", "orders", "totals")
            ]
            return names, columns

    assert shape("new.db") == shape("old.db")


@pytest.mark.parametrize(
    "content",
    [b"not a database", b"SQLite format", b"x", b"\0" * 4096, b"{}\n" * 999],
    ids=lambda text: repr(text)[:16],
)
def test_a_file_that_is_not_a_database_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "orders.db").write_bytes(content)
    with pytest.raises(DatabaseRefusedError, match=r"orders\.db is not an SQLite database"):
        open_database(tmp_path / "orders.db")
    assert contents(tmp_path) == {"orders.db": content}


def test_a_broken_database_is_refused(tmp_path: Path) -> None:
    content = b"SQLite format 3\0" + b"\xff" * 8_000
    (tmp_path / "orders.db").write_bytes(content)
    with pytest.raises(DatabaseRefusedError, match=r"orders\.db can't be opened"):
        open_database(tmp_path / "orders.db")
    assert contents(tmp_path) == {"orders.db": content}


@pytest.mark.parametrize("journal_mode", ["delete", "wal"])
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE orders (a)",
        "PRAGMA user_version = 1",
        "PRAGMA user_version = -1",
        "PRAGMA application_id = 7",
        f"PRAGMA application_id = {-APPLICATION_ID}",
    ],
)
def test_another_programs_database_is_refused_and_not_changed(
    tmp_path: Path, statement: str, journal_mode: str
) -> None:
    create(tmp_path / "orders.db", f"PRAGMA journal_mode = {journal_mode}", statement)
    before = contents(tmp_path)
    assert list(before) == ["orders.db"]
    with pytest.raises(DatabaseRefusedError, match=r"orders\.db is another program's database"):
        open_database(tmp_path / "orders.db")
    assert contents(tmp_path) == before


def test_another_programs_open_database_is_refused_and_not_changed(tmp_path: Path) -> None:
    with another_program(tmp_path / "orders.db", "CREATE TABLE theirs (a)", "INSERT INTO theirs VALUES (1)"):
        before = contents(tmp_path)
        with pytest.raises(DatabaseRefusedError, match="another program"):
            open_database(tmp_path / "orders.db")
        after = contents(tmp_path)
        assert after.keys() == before.keys()
        assert (after["orders.db"], after["orders.db-wal"]) == (before["orders.db"], before["orders.db-wal"])


def test_another_programs_database_with_only_views_is_refused(tmp_path: Path) -> None:
    create(tmp_path / "orders.db", "CREATE VIEW answer AS SELECT 42")
    with pytest.raises(DatabaseRefusedError):
        open_database(tmp_path / "orders.db")


def create_newer(path: Path) -> None:
    open_database(path)
    create(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")


def test_a_newer_schema_is_refused_and_not_changed(tmp_path: Path) -> None:
    create_newer(tmp_path / "orders.db")
    before = contents(tmp_path)
    text = f"has schema version {SCHEMA_VERSION + 1}, this program knows up to {SCHEMA_VERSION}: use a newer program"
    with pytest.raises(DatabaseRefusedError, match=text):
        open_database(tmp_path / "orders.db")
    assert contents(tmp_path) == before


def test_a_newer_schema_in_the_wal_is_refused_and_not_changed(tmp_path: Path) -> None:
    open_database(tmp_path / "orders.db")
    with another_program(tmp_path / "orders.db", f"PRAGMA user_version = {SCHEMA_VERSION + 1}"):
        left = {name: content for name, content in contents(tmp_path).items() if not name.endswith("-shm")}
    assert int.from_bytes(left["orders.db"][60:64], "big") == SCHEMA_VERSION
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name, content in left.items():
        (crashed / name).write_bytes(content)
    with pytest.raises(DatabaseRefusedError, match="use a newer program"):
        open_database(crashed / "orders.db")
    after = contents(crashed)
    assert {name: after.get(name) for name in left} == left


def test_a_missing_folder_is_refused_and_not_created(tmp_path: Path) -> None:
    with pytest.raises(DatabaseRefusedError, match=r"orders\.db can't be opened: unable to open database file"):
        open_database(tmp_path / "missing" / "orders.db")
    assert not (tmp_path / "missing").exists()


def test_a_path_through_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DatabaseRefusedError, match="Not a directory"):
        open_database(tmp_path / "file" / "orders.db")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatabaseRefusedError, match="is not a regular file"):
        open_database(tmp_path)


def test_a_file_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatabaseRefusedError, match="can't be opened"):
        open_database(tmp_path / ("x" * 300))


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "orders.db").symlink_to(tmp_path / "orders.db")
    with pytest.raises(DatabaseRefusedError, match="symbolic links"):
        open_database(tmp_path / "orders.db")


@pytest.mark.parametrize("create_file", [Path.touch, open_database, create_newer], ids=["empty", "current", "newer"])
def test_a_read_only_file_is_refused(public_folder: Path, create_file: Callable[[Path], object]) -> None:
    path = public_folder / "orders.db"
    create_file(path)
    path.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
    before = contents(public_folder)
    with without_privileges():
        assert path.read_bytes() == before["orders.db"]
        with pytest.raises(DatabaseRefusedError, match=r"orders\.db can't be opened: Permission denied"):
            open_database(path)
    assert contents(public_folder) == before


def test_a_wal_that_can_not_be_read_is_refused(public_folder: Path) -> None:
    path = public_folder / "orders.db"
    open_database(path)
    path.chmod(0o666)
    wal = public_folder / "orders.db-wal"
    wal.write_bytes(bytes(100))
    wal.chmod(0)
    text = r"orders\.db-wal can't be opened: Permission denied"
    with without_privileges(), pytest.raises(DatabaseRefusedError, match=text):
        open_database(path)
    wal.chmod(0o600)
    assert wal.read_bytes() == bytes(100)


def test_a_file_in_a_read_only_folder_is_refused(public_folder: Path) -> None:
    path = public_folder / "orders.db"
    open_database(path)
    path.chmod(0o666)
    public_folder.chmod(0o555)
    before = contents(public_folder)
    with without_privileges(), pytest.raises(DatabaseRefusedError, match=r"orders\.db can't be opened"):
        open_database(path)
    assert contents(public_folder) == before


def test_a_file_that_can_not_be_created_is_refused(public_folder: Path) -> None:
    public_folder.chmod(0o555)
    with without_privileges(), pytest.raises(DatabaseRefusedError, match="unable to open database file"):
        open_database(public_folder / "orders.db")
    assert contents(public_folder) == {}


def test_a_file_locked_by_another_program_is_refused_after_the_deadline(tmp_path: Path) -> None:
    create(tmp_path / "orders.db", "CREATE TABLE t (a)", "DROP TABLE t")
    with closing(sqlite3.connect(tmp_path / "orders.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DatabaseRefusedError, match="locked"):
            open_database(tmp_path / "orders.db", deadline_s=0)


@pytest.mark.parametrize("name", ["with space?#%41.db", "ünïcode.db", "file:orders.db", "-", "a'b\"c.db", ".db"])
def test_any_file_name_works(tmp_path: Path, name: str) -> None:
    for _ in range(2):
        with open_database(tmp_path / name).connection_context():
            pass
    assert (tmp_path / name).is_file()


def test_a_symbolic_link_opens_its_target(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "orders.db")
    database = open_database(tmp_path / "link.db")
    with database.connection_context():
        store_in(database, clock).insert(new_order(1))
    with open_database(tmp_path / "orders.db").connection_context() as _:
        pass
    assert (tmp_path / "orders.db").is_file()
    assert sorted(contents(tmp_path)) == ["link.db", "orders.db"]


def test_a_first_page_that_a_power_loss_damaged_is_restored_from_the_wal(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "left").mkdir()
    database = open_database(tmp_path / "orders.db")
    with database.connection_context():
        # Enough orders to make the file grow. The first page contains the size of the file.
        store_in(database, clock).insert(*map(new_order, range(1, 501)))
        database.execute_sql("PRAGMA wal_checkpoint")
        for name, content in contents(tmp_path).items():
            if not name.endswith("-shm"):
                (tmp_path / "left" / name).write_bytes(content)
    with (tmp_path / "left" / "orders.db").open("r+b") as file:
        file.write(b"?" * 512)
    database = open_database(tmp_path / "left" / "orders.db")
    with database.connection_context():
        assert store_in(database, clock).find([500]) != [None]


# The rollback journal of a file that was empty, with pages of 4,096 bytes
# (https://www.sqlite.org/fileformat.html#the_rollback_journal).
JOURNAL = (bytes.fromhex("d9d505f920a163d7") + struct.pack(">5I", 0, 1, 0, 512, 4_096)).ljust(512, b"\0")


@pytest.mark.parametrize("first_page", [bytes(4_096), b"?" * 4_096, b"SQLite format 3\0" + bytes(4_080)])
@pytest.mark.parametrize("has_wal", [True, False])
def test_a_first_start_that_a_power_loss_interrupted_begins_again(
    tmp_path: Path, first_page: bytes, has_wal: bool
) -> None:
    (tmp_path / "orders.db").write_bytes(first_page)
    (tmp_path / "orders.db-journal").write_bytes(JOURNAL)
    if has_wal:
        (tmp_path / "orders.db-wal").touch()
    with open_database(tmp_path / "orders.db").connection_context():
        pass
    assert sorted(contents(tmp_path)) == ["orders.db"]


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
def test_a_file_that_is_not_a_database_is_refused_beside_a_wal_or_journal(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "orders.db").write_bytes(b"a letter" * 1_000)
    (tmp_path / f"orders.db{suffix}").write_bytes(b"another" * 1_000)
    before = contents(tmp_path)
    with pytest.raises(DatabaseRefusedError, match="not an SQLite database"):
        open_database(tmp_path / "orders.db")
    assert contents(tmp_path) == before


def left_by_a_crash(folder: Path, clock: Clock) -> dict[str, bytes]:
    """The contents of a killed process's database and WAL, with 99 orders. The keys are the suffixes of the files."""
    database = open_database(folder / "made.db")
    with database.connection_context():
        store = store_in(database, clock)
        for order_id in range(1, 100):
            store.insert(new_order(order_id))
        found = {name.removeprefix("made.db"): content for name, content in contents(folder).items()}
    (folder / "made.db").unlink()
    return {suffix: found[suffix] for suffix in ("", "-wal")}


def assert_refused_and_not_changed(folder: Path, **files: bytes) -> None:
    for suffix, content in files.items():
        (folder / f"orders.db{suffix.replace('_', '-')}").write_bytes(content)
    before = contents(folder)
    with pytest.raises(DatabaseRefusedError):
        open_database(folder / "orders.db")
    after = contents(folder)
    after.pop("orders.db-shm", None)
    assert after == before


def test_the_journal_of_a_first_start_is_refused_beside_stored_orders(tmp_path: Path, clock: Clock) -> None:
    left = left_by_a_crash(tmp_path, clock)
    assert_refused_and_not_changed(tmp_path, **{"": left[""], "_wal": left["-wal"], "_journal": JOURNAL})


@pytest.mark.parametrize("journal", [JOURNAL, JOURNAL[:20], JOURNAL[:100], JOURNAL + JOURNAL[:8]])
def test_another_programs_database_beside_a_journal_is_refused(tmp_path: Path, journal: bytes) -> None:
    create(tmp_path / "other.db", "CREATE TABLE theirs (a)", "INSERT INTO theirs VALUES (1)")
    content = (tmp_path / "other.db").read_bytes()
    (tmp_path / "other.db").unlink()
    assert_refused_and_not_changed(tmp_path, **{"": content, "_journal": journal})


@pytest.mark.parametrize("content", [b"text", b"x" * 4_096, b"x" * 90_000, b"x" * 40_960])
def test_a_non_database_file_beside_a_valid_wal_is_refused(tmp_path: Path, clock: Clock, content: bytes) -> None:
    left = left_by_a_crash(tmp_path, clock)
    assert_refused_and_not_changed(tmp_path, **{"": content, "_wal": left["-wal"]})


def test_an_in_memory_database_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatabaseRefusedError):
        open_database(Path(":memory:"))
