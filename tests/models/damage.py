"""Damages parts of a database file, as a failing disk does.

The file must not be open. Only `change_row`, `prevent_updates` and `permit_updates` can change an open file.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random

PAGE_BYTES = 4_096
TABLE_LEAF, INDEX_LEAF = 0x0D, 0x0A
"""The first byte of a page of these types (https://www.sqlite.org/fileformat.html#b_tree_pages)."""


def damage_pages(path: Path, is_damaged: Callable[[int, bytes], bool]) -> int:
    """Overwrites the pages for which `is_damaged(number, content)` is true with noise. Returns their number."""
    content = path.read_bytes()
    pages = [content[begin : begin + PAGE_BYTES] for begin in range(0, len(content), PAGE_BYTES)]
    damaged = [number for number, page in enumerate(pages, 1) if is_damaged(number, page)]
    noise = Random(1)
    with path.open("r+b") as file:
        for number in damaged:
            file.seek((number - 1) * PAGE_BYTES)
            file.write(noise.randbytes(PAGE_BYTES))
        os.fsync(file.fileno())
    return len(damaged)


def damage_root(path: Path, name: str) -> None:
    """Overwrites the first page of a table or an index."""
    with closing(sqlite3.connect(path)) as connection:
        [root] = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    assert damage_pages(path, lambda number, _: number == root) == 1


def damage_rows(path: Path, text: str) -> None:
    """Overwrites the page of the table that contains rows with this text."""
    assert damage_pages(path, lambda _, page: page[0] == TABLE_LEAF and text.encode() in page) == 1


def damage_index_of_id(path: Path, order_id: int) -> None:
    """Overwrites the page of the index by id that contains `order_id`. SQLite must store the id in six bytes."""
    number = order_id.to_bytes(6, "big")
    assert damage_pages(path, lambda _, page: page[0] == INDEX_LEAF and number in page) == 1


def change_row(path: Path, order_id: int, column: str, value: str) -> None:
    """Changes a column of one order. `value` is an SQL expression."""
    _run(path, f"UPDATE orders SET {column} = {value} WHERE order_id = {order_id}")


@contextmanager
def hidden_index(path: Path, name: str) -> Iterator[None]:
    """Hides an index from all programs until the end of the block, so that their changes are missing in it."""
    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute("SELECT * FROM sqlite_schema WHERE name = ?", (name,)).fetchone()
    _run(path, "DELETE FROM sqlite_schema WHERE name = ?", name)
    yield
    _run(path, "INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", *row)


def prevent_updates(path: Path, condition: str = "old.sequence = 11") -> None:
    """Makes every UPDATE of orders that match `condition` fail, until `permit_updates`."""
    action = "BEGIN SELECT RAISE(ABORT, 'broken'); END"
    _run(path, f"CREATE TRIGGER broken BEFORE UPDATE ON orders WHEN {condition} {action}")


def permit_updates(path: Path) -> None:
    _run(path, "DROP TRIGGER broken")


def _run(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA writable_schema = 1")
        connection.execute(statement, values)
