"""Other programs at the database: they do get its lock, and they are told from those that don't."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from load.chaos import outsider
from load.chaos.outsider import checkpoint, hold_lock, last_due_us
from models.sqlite.opening import open_database
from tests.load.steps import meanwhile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    open_database(tmp_path / "orders.db")
    return tmp_path / "orders.db"


@pytest.fixture
def other(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        yield connection


class Ending(threading.Event):
    """Says when somebody waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.is_awaited = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.is_awaited.set()
        return super().wait(timeout)


def test_who_holds_the_lock_keeps_others_from_writing_until_it_ends(path: Path, other: sqlite3.Connection) -> None:
    ended = Ending()
    with meanwhile(lambda: _assert(hold_lock(path, length_s=30, ended=ended))):
        assert ended.is_awaited.wait(10)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        ended.set()
    other.execute("BEGIN IMMEDIATE")


def _assert(value: bool) -> None:
    assert value


def test_there_is_no_lock_of_a_database_that_is_not_there(tmp_path: Path) -> None:
    assert not hold_lock(tmp_path / "none.db", length_s=0, ended=threading.Event())
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_are_counted_by_what_came_of_them(
    path: Path, other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outsider, "CHECKPOINT_WAIT_S", 0.0)
    other.execute("UPDATE totals SET pending = 1")
    assert checkpoint(path, ["PASSIVE", "TRUNCATE"], reader_s=0, ended=threading.Event()) == {"done": 2}
    other.execute("UPDATE totals SET pending = 2")
    other.execute("BEGIN")
    other.execute("SELECT * FROM totals").fetchall()
    assert checkpoint(path, ["RESTART"], reader_s=0, ended=threading.Event()) == {"busy": 1}


def test_a_checkpoint_of_no_database_is_neither(tmp_path: Path) -> None:
    came = checkpoint(tmp_path / "none.db", ["FULL"], reader_s=0, ended=threading.Event())
    assert came == {"unable to open database file": 1}


def test_the_last_due_time_is_that_of_the_orders_that_wait(path: Path, other: sqlite3.Connection) -> None:
    assert last_due_us(path) == 0
    insert = """INSERT INTO orders
        (order_id, user_id, item_ids, total_amount, status, attempts, claims, created_us, due_us)
        VALUES (?, 1, '[1]', 5, ?, 1, 1, 1, ?)"""
    other.executemany(insert, [(1, "Pending", 5), (2, "Pending", 7), (3, "Completed", 9), (4, "Pending", None)])
    assert last_due_us(path) == 7
