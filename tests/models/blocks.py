"""Compares the table `blocks` with the orders."""

import sqlite3
from typing import Any, NamedTuple, cast

from models.sqlite.check.check_statements import COMPUTED_BLOCKS
from models.sqlite.database import RetryingSqliteDatabase


class Block(NamedTuple):
    """A row of the table."""

    block: int
    first_us: int
    last_us: int
    completed: int
    processing: int = 0
    processing_chunks: int = 0


def check_blocks(connection: sqlite3.Connection) -> None:
    """Checks that each block has a row with its times, the number of Processing orders, and the bits of its orders.

    `processing_chunks` can have more bits, because they become 0 only when no order of the block is Processing.
    """
    computed, stored = computed_blocks(connection), stored_blocks(connection)
    assert [each._replace(processing_chunks=0) for each in stored] == [
        each._replace(processing_chunks=0) for each in computed
    ]
    for each, other in zip(stored, computed, strict=True):
        assert each.processing_chunks & other.processing_chunks == other.processing_chunks
        assert (each.processing_chunks == 0) is (each.processing == 0)


def computed_blocks(connection: sqlite3.Connection) -> list[Block]:
    return [Block(*row) for row in connection.execute(COMPUTED_BLOCKS)]


def stored_blocks(connection: sqlite3.Connection) -> list[Block]:
    return [Block(*row) for row in connection.execute("SELECT * FROM blocks ORDER BY block")]


def fill_blocks(connection: sqlite3.Connection) -> None:
    """Replaces all rows. For tests that insert orders without the store."""
    connection.execute("DELETE FROM blocks")
    connection.execute(f"INSERT INTO blocks {COMPUTED_BLOCKS}")


def connection_of(database: RetryingSqliteDatabase) -> sqlite3.Connection:
    """The connection of the calling thread."""
    return cast(sqlite3.Connection, cast(Any, database).connection())
