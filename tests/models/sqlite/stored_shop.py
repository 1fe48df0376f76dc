"""A database file with orders in every status, and what a file contains."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from models.order import Order, Status
from models.sqlite.files.opening import open_sqlite_store
from models.sqlite.store import SqliteStore
from tests.models.new_database import open_new_database
from tests.models.samples import Clock, new_order
from tests.models.shorthand_store import ShorthandStore


class StoredShop:
    """An open database file, with the ids from 1 to `last_id`. Its WAL is not empty while it is open."""

    def __init__(self, path: Path, *, orders: int = 10) -> None:
        self.path = path
        self.last_id = 0
        self._database = open_new_database(path)
        self._database.connect()
        self._database.pragma("synchronous", 0)
        self.store = ShorthandStore(SqliteStore(self._database, clock=Clock()))
        self.store.recover()
        self.insert(orders)
        completed, failed, waiting, *_ = self.store.claim(4)
        self.store.finish_attempt(completed, Status.COMPLETED)
        self.store.finish_attempt(failed, Status.FAILED, "broken")
        self.store.finish_attempt(waiting, Status.PENDING, "down", due_us=10**18)
        self.store.cancel(self.last_id)

    def insert(self, count: int = 1, *, metadata: str | None = None) -> None:
        numbers = range(self.last_id + 1, self.last_id + count + 1)
        self.store.insert(*(new_order(number, user_id=number % 3 + 1, metadata=metadata) for number in numbers))
        self.last_id += count

    def orders(self) -> list[Order]:
        return [self.store.find_one(number) for number in range(1, self.last_id + 1)]

    def close(self) -> None:
        self._database.close()

    def kill(self) -> None:
        """Closes the database, and leaves the files as a killed server leaves them."""
        folder = self.path.with_name("killed")
        folder.mkdir()
        for file in files_of(self.path):
            shutil.copy(file, folder)
        self.close()
        for file in folder.iterdir():
            file.replace(self.path.with_name(file.name))
        folder.rmdir()


def files_of(path: Path) -> list[Path]:
    """The database and SQLite's files beside it."""
    return [file for suffix in ("", "-wal", "-shm") if (file := Path(f"{path}{suffix}")).exists()]


def contents(folder: Path) -> dict[str, bytes]:
    """The names and contents of all files in the folder."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def orders_in(path: Path) -> list[Order]:
    """Opens the database as a server does, and returns all orders, by id."""
    store = open_sqlite_store(path, clock=Clock())
    try:
        store.connect()
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            ids = [order_id for (order_id,) in connection.execute("SELECT order_id FROM orders ORDER BY order_id")]
        found = [order for order in store.find(ids) if isinstance(order, Order)]
        assert len(found) == len(ids) == store.totals().orders
        return found
    finally:
        store.disconnect()
        store.close()


class Reports:
    """Collects the lines that a command reports."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, line: str, /) -> None:
        self.lines.append(line)


def ignore(step: str, done: int = 0, total: int | None = None, /) -> None:
    """A progress that nobody sees."""
