"""Compares the table `blocks` with the orders."""

import sqlite3
from typing import Any, NamedTuple, cast

from models.sqlite.database import RetryingSqliteDatabase

_COMPUTED = """
SELECT sequence >> 11, min(created_us), max(created_us),
    sum(DISTINCT iif(status = 'Completed', 1 << (sequence >> 6 & 31), 0))
FROM orders GROUP BY sequence >> 11"""


class Block(NamedTuple):
    """A row of the table."""

    block: int
    first_us: int
    last_us: int
    completed: int


def check_blocks(connection: sqlite3.Connection) -> None:
    """Checks that each block has a row with its times, and that `completed` has the bits of all Completed orders.

    `completed` can have more bits: an outcome sets the bit of its order, even if the attempt has already ended.
    """
    computed, stored = computed_blocks(connection), stored_blocks(connection)
    assert [block._replace(completed=0) for block in stored] == [block._replace(completed=0) for block in computed]
    for each, other in zip(stored, computed, strict=True):
        assert each.completed & other.completed == other.completed


def computed_blocks(connection: sqlite3.Connection) -> list[Block]:
    return [Block(*row) for row in connection.execute(_COMPUTED)]


def stored_blocks(connection: sqlite3.Connection) -> list[Block]:
    return [Block(*row) for row in connection.execute("SELECT * FROM blocks ORDER BY block")]


def fill_blocks(connection: sqlite3.Connection) -> None:
    """Replaces all rows. For tests that insert orders without the store."""
    connection.execute("DELETE FROM blocks")
    connection.execute(f"INSERT INTO blocks {_COMPUTED}")


def connection_of(database: RetryingSqliteDatabase) -> sqlite3.Connection:
    """The connection of the calling thread."""
    return cast(sqlite3.Connection, cast(Any, database).connection())
