"""Other programs that truncate, overwrite or checkpoint the WAL of an open store."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from models.database.health import Work
from models.errors import StorageUnavailableError
from models.sqlite.database import RetryingSqliteDatabase
from models.sqlite.files.opening import open_database
from models.sqlite.store import SqliteStore
from models.writes.insertion import Insertion
from tests.models.samples import Clock, new_order
from tests.models.shorthand_store import ShorthandStore
from tests.open_files import no_more_files

PAGE = 4_096
DAMAGED = "another program truncated or overwrote .*orders.db-wal"


@pytest.fixture
def wal(tmp_path: Path) -> Path:
    return tmp_path / "orders.db-wal"


@pytest.fixture
def other(store: ShorthandStore, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Another program's connection to the file of `store`."""
    store.insert(new_order(1))
    with closing(sqlite3.connect(tmp_path / "orders.db", isolation_level=None, timeout=0)) as connection:
        yield connection


def overwrite(path: Path, place: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(content)


DAMAGES: list[Callable[[Path], None]] = [
    lambda wal: os.truncate(wal, 0),
    lambda wal: os.truncate(wal, 1),
    lambda wal: os.truncate(wal, wal.stat().st_size - 100),
    lambda wal: os.truncate(wal, wal.stat().st_size - PAGE),
    lambda wal: os.truncate(wal, wal.stat().st_size // 2),
    lambda wal: overwrite(wal, 0, bytes(32)),
    lambda wal: overwrite(wal, 16, b"another!"),
    lambda wal: overwrite(wal, 0, bytes(wal.stat().st_size)),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_nothing_is_accepted_after_the_wal_was_damaged(
    store: ShorthandStore, wal: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    for order_id in (1, 2, 3):
        assert store.insert(new_order(order_id)) == [Insertion.ACCEPTED]
    database = wal.with_name("orders.db").read_bytes()
    intact = wal.stat().st_size
    damage(wal)
    left = wal.read_bytes()
    for order_id in (4, 5):
        with pytest.raises(StorageUnavailableError, match=DAMAGED):
            store.insert(new_order(order_id))
        assert not store.is_up(Work.WRITES)
    with pytest.raises(StorageUnavailableError, match=DAMAGED):
        store.probe(Work.WRITES)
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert "with up to 3 orders" in record.getMessage()
    assert record.getMessage().endswith("copy its files, start it again, and send missing orders again")
    assert wal.with_name("orders.db").read_bytes() == database
    # Damage that leaves the length is found only after a commit.
    assert wal.read_bytes() == left or len(left) == intact


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_during_a_transaction_is_found_before_it_is_acknowledged(
    store: ShorthandStore, database: RetryingSqliteDatabase, wal: Path, damage: Callable[[Path], None]
) -> None:
    for order_id in (1, 2, 3):
        store.insert(new_order(order_id))
    for _ in range(2):
        with pytest.raises(StorageUnavailableError, match=DAMAGED):
            SqliteStore(database, clock=Damaging(wal, damage)).write([new_order(4)])


class Damaging(Clock):
    """A clock that damages the WAL whenever a transaction reads the time, which is after the first check of the WAL."""

    def __init__(self, wal: Path, damage: Callable[[Path], None]) -> None:
        super().__init__()
        self._wal = wal
        self._damage = damage

    def __call__(self) -> int:
        self._damage(self._wal)
        return super().__call__()


def test_a_damaged_wal_is_not_copied_into_the_database(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    database = open_database(path)
    database.connect()
    store = ShorthandStore(SqliteStore(database, clock=Clock()))
    for order_id in (1, 2, 3):
        store.insert(new_order(order_id))
    before = path.read_bytes()
    os.truncate(f"{path}-wal", 3 * PAGE)
    for attempt in (store.maintain, lambda: store.insert(new_order(4))):
        with pytest.raises(StorageUnavailableError, match=DAMAGED):
            attempt()
    store.disconnect()
    assert path.read_bytes() == before
    assert Path(f"{path}-wal").stat().st_size == 3 * PAGE


@pytest.mark.parametrize("mode", ["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
def test_checkpoints_of_other_programs_are_not_damage(
    store: ShorthandStore, other: sqlite3.Connection, mode: str
) -> None:
    for order_id in range(2, 12, 2):
        assert store.insert(new_order(order_id)) == [Insertion.ACCEPTED]
        assert other.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()[0] == 0
        assert store.insert(new_order(order_id + 1)) == [Insertion.ACCEPTED]
    other.execute("UPDATE totals SET failed = 1")
    assert store.insert(new_order(12)) == [Insertion.ACCEPTED]
    assert store.is_up(Work.WRITES)


def test_only_orders_since_the_last_checkpoint_may_be_lost(
    store: ShorthandStore, other: sqlite3.Connection, wal: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.insert(*map(new_order, range(2, 10)))
    other.execute("PRAGMA wal_checkpoint(PASSIVE)")
    store.insert(new_order(10), new_order(11))
    store.claim()
    wal.write_bytes(b"")
    with pytest.raises(StorageUnavailableError):
        store.claim()
    assert "with up to 2 orders" in caplog.text


# Maintenance


def test_maintenance_moves_all_commits_to_the_database_file(store: ShorthandStore, wal: Path) -> None:
    store.maintain()
    store.insert(*map(new_order, range(1, 100)))
    assert wal.stat().st_size > 0
    store.maintain()
    assert wal.stat().st_size == 0
    copy = wal.with_name("copy.db")
    copy.write_bytes(wal.with_name("orders.db").read_bytes())
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (99,)
    assert store.insert(new_order(100)) == [Insertion.ACCEPTED]


@pytest.mark.parametrize("statement", ["BEGIN; SELECT * FROM totals", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_maintenance_does_not_wait_for_other_programs(
    store: ShorthandStore, other: sqlite3.Connection, wal: Path, statement: str
) -> None:
    cursor = other.cursor()
    for part in statement.split("; "):
        cursor.execute(part).fetchall()
    store.maintain()
    assert wal.stat().st_size > 0
    other.rollback()
    store.maintain()
    assert wal.stat().st_size == 0


def test_a_wal_that_a_long_read_made_longer_is_truncated_after_it(tmp_path: Path) -> None:
    database = open_database(tmp_path / "orders.db")
    with database.connection_context():
        database.pragma("journal_size_limit", 10 * PAGE)
        database.pragma("wal_autocheckpoint", 5)
        store = ShorthandStore(SqliteStore(database, clock=Clock()))
        wal = tmp_path / "orders.db-wal"
        with closing(sqlite3.connect(tmp_path / "orders.db", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM orders").fetchone()
            for order_id in range(1, 30):
                store.insert(new_order(order_id))
            assert wal.stat().st_size > 100 * PAGE
            reader.rollback()
        store.insert(new_order(30))
        store.insert(new_order(31))
        assert wal.stat().st_size <= 10 * PAGE


# File descriptors


def descriptors_of(path: Path) -> list[int]:
    """The descriptors with which this process has the file open."""
    return [int(each.name) for each in Path("/proc/self/fd").iterdir() if each.resolve() == path]


def test_sqlite_has_one_descriptor_of_the_wal_index_until_the_last_connection_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    connections = [sqlite3.connect(path, isolation_level=None) for _ in range(3)]
    for connection in connections:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("PRAGMA user_version = 1")
    [descriptor] = descriptors_of(tmp_path / "other.db-shm")
    for connection in connections[:2]:
        connection.close()
        assert descriptors_of(tmp_path / "other.db-shm") == [descriptor]
    connections[2].close()
    assert descriptors_of(tmp_path / "other.db-shm") == []


def test_a_store_opens_only_the_files_that_sqlite_opens(store: ShorthandStore, wal: Path) -> None:
    store.insert(new_order(1))
    for path in (wal.with_name("orders.db"), wal, wal.with_name("orders.db-shm")):
        assert len(descriptors_of(path)) == 1


def test_without_a_free_file_descriptor_the_wal_is_checked_after_the_next_commit(
    store: ShorthandStore, wal: Path
) -> None:
    store.insert(new_order(1))
    overwrite(wal, 16, b"another!")
    with no_more_files():
        assert store.insert(new_order(2)) == [Insertion.ACCEPTED]
    with pytest.raises(StorageUnavailableError, match=DAMAGED):
        store.insert(new_order(3))
