"""Tests locks and checkpoints in the database of a server, and copies of it."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from load.chaos.databases import database
from load.chaos.databases.sqlite import SqliteDatabase
from models.sqlite.files.opening import open_database
from tests.load.steps import meanwhile
from tests.process import DEADLINE_S


@pytest.fixture
def path(tmp_path: Path) -> Path:
    open_database(tmp_path / "orders.db")
    return tmp_path / "orders.db"


@pytest.fixture
def other(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        yield connection


class WatchedEvent(threading.Event):
    """An event that sets `is_awaited` when a thread waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.is_awaited = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.is_awaited.set()
        return super().wait(timeout)


def test_a_held_lock_blocks_writers_until_the_run_ends(path: Path, other: sqlite3.Connection) -> None:
    ended = WatchedEvent()
    with meanwhile(lambda: _assert(SqliteDatabase(path).hold_lock(length_s=30, ended=ended))):
        assert ended.is_awaited.wait(DEADLINE_S)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        ended.set()
    other.execute("BEGIN IMMEDIATE")


def _assert(value: bool) -> None:
    assert value


def test_a_missing_database_can_not_be_locked(tmp_path: Path) -> None:
    assert not SqliteDatabase(tmp_path / "none.db").hold_lock(length_s=0, ended=threading.Event())
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_are_counted_by_result(
    path: Path, other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "CHECKPOINT_TIMEOUT_S", 0.0)  # makes the test fast
    other.execute("UPDATE totals SET pending = 1")
    assert SqliteDatabase(path).checkpoint(["PASSIVE", "TRUNCATE"], reader_s=0, ended=threading.Event()) == {"done": 2}
    other.execute("UPDATE totals SET pending = 2")
    other.execute("BEGIN")
    other.execute("SELECT * FROM totals").fetchall()
    assert SqliteDatabase(path).checkpoint(["RESTART"], reader_s=0, ended=threading.Event()) == {"busy": 1}


def test_a_checkpoint_of_a_missing_database_is_an_error(tmp_path: Path) -> None:
    results = SqliteDatabase(tmp_path / "none.db").checkpoint(["FULL"], reader_s=0, ended=threading.Event())
    assert results == {"unable to open database file": 1}


def test_a_copy_has_the_orders_that_a_server_has_stored(path: Path, other: sqlite3.Connection, tmp_path: Path) -> None:
    other.execute("UPDATE totals SET pending = 7")
    folder = tmp_path / "copies"
    folder.mkdir()
    with closing(sqlite3.connect(SqliteDatabase(path).copy(folder).path)) as copied:
        assert copied.execute("SELECT pending FROM totals").fetchone() == (7,)
    assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_every_new_order_changes_the_indexes_that_are_damaged(path: Path, other: sqlite3.Connection) -> None:
    pages = {page: name for name, page in other.execute("SELECT name, rootpage FROM sqlite_master")}
    page_bytes, indexes = SqliteDatabase(path).index_pages()
    assert page_bytes == 4096
    assert {pages[page] for page in indexes} == {"orders_order_id", "orders_user"}
