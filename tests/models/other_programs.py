"""Accesses a database file as other programs do."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path


def create(path: Path, *statements: str) -> None:
    """Runs the statements. Creates the file if it does not exist."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


@contextmanager
def another_program(path: Path, *statements: str) -> Iterator[None]:
    """While the block runs, another program has the file open, so the last changes are only in the WAL."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        for statement in statements:
            connection.execute(statement)
        yield
