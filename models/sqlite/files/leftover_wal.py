"""Checks that the WAL that a killed server has left belongs to the database file. Runs on the main thread.

SQLite replays a WAL without checking this. If a backup was copied over the database, the replay would mix pages of two
versions of the database.

Each write transaction stores a new random number in `totals.state`, and the number of the previous transaction in
`totals.previous_state`. Each write transaction writes the page with these two columns to the WAL. So the WAL contains
the numbers of all its transactions, and the number of the transaction before the first one. The WAL belongs to the
database if one of these numbers is the `totals.state` of the database file. In this case, the database file is as old
as the beginning of the WAL, or newer, and the replay leads to the newest version. All this also applies to a copy of
the database file that was made after the beginning of the WAL.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from models.errors import DatabaseRefusedError
from models.sqlite.files.file_format import DATABASE_MAGIC, Row, Wal, read_wal, single_row
from models.sqlite.schema.tables import TOTALS_COLUMNS
from models.sqlite.statements import STATE_FACTOR

_FORMAT_VERSIONS = slice(18, 20)
_WITHOUT_WAL, _WITH_WAL = b"\1\1", b"\2\2"
"""The file format versions (for writing, for reading) of a database without a WAL, and of a database with a WAL."""
_HEADER_BYTES = 100
_STATE = TOTALS_COLUMNS.index("state")
_PREVIOUS_STATE = TOTALS_COLUMNS.index("previous_state")
_OLD_COLUMNS = 7
"""How many columns the table `totals` had before version 4 of the schema."""
_TOTALS_ROOT = "SELECT rootpage FROM sqlite_schema WHERE type = 'table' AND name = 'totals'"


class _UnknownStateError(Exception):
    """A crash interrupted a checkpoint, so `totals.state` can't be read from the database file alone."""


def check_leftover_wal(path: Path) -> None:
    """Raises DatabaseRefusedError if the database `path` has a WAL with commits that do not belong to the database.

    Raises sqlite3.DatabaseError if the database is damaged and the WAL does not repair it. Changes neither file.
    """
    wal = read_wal(Path(f"{path}-wal"))
    if wal is None:
        return
    if not path.exists() or not path.stat().st_size:
        raise DatabaseRefusedError(  # SQLite would remove the WAL
            f"{path} is missing or empty, but {path}-wal has commits of it:"
            f" put {path} back, or move {path}-wal to another folder to start with an empty database"
        )
    try:
        belongs = _belongs(path, wal)
    except _UnknownStateError:
        # The WAL still has all pages that the interrupted checkpoint was copying, so the replay repairs the database.
        belongs = _query(path, "mode=ro", "PRAGMA quick_check(1)") == ("ok",)
    if not belongs:
        raise DatabaseRefusedError(
            f"{path}-wal does not belong to {path}, which may be a restored backup:"
            f" to start from {path} as it is, move {path}-wal to another folder"
        )


def _belongs(path: Path, wal: Wal) -> bool:
    """Whether the WAL belongs to the database. Raises _UnknownStateError if only SQLite can tell, by a replay."""
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if header[_FORMAT_VERSIONS] == _WITHOUT_WAL:
        return False
    if not header.startswith(DATABASE_MAGIC) or header[_FORMAT_VERSIONS] != _WITH_WAL:
        raise _UnknownStateError
    if not (totals_rows := [row for row in wal.rows if _is_totals(row)]):
        return True  # all of its transactions are from other programs, or from an older version of this one
    states = [_value(totals_rows[0], _PREVIOUS_STATE), *(_value(row, _STATE) for row in totals_rows)]
    return _state_in(path, wal.page_bytes) in states


def _state_in(path: Path, page_bytes: int) -> int | None:
    """The `totals.state` in the database file itself, not in its WAL; None if the file has no such table or column."""
    try:
        # SQLite reads an immutable file without its WAL.
        root = _query(path, "immutable=1", _TOTALS_ROOT)
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        # The first page is only partly written, or has the size that the file will have after the checkpoint. SQLite
        # can read the schema with the WAL.
        root = _query(path, "mode=ro", _TOTALS_ROOT)
    if root is None:
        return None
    with path.open("rb") as file:
        file.seek((root[0] - 1) * page_bytes)
        row = single_row(file.read(page_bytes))
    if row is None or not _is_totals(row):
        raise _UnknownStateError
    return _value(row, _STATE)


def _is_totals(row: Row) -> bool:
    """Whether this is a row of `totals`, of any version of the schema, that was written completely."""
    state = _value(row, _STATE)
    return row[:1] == [None] and len(row) >= _OLD_COLUMNS and (state is None or state % STATE_FACTOR == 0)


def _value(row: Row, column: int) -> int | None:
    return row[column] if column < len(row) else None


def _query(path: Path, mode: str, query: str) -> tuple[Any, ...] | None:
    with closing(sqlite3.connect(f"{path.as_uri()}?{mode}", uri=True, isolation_level=None)) as connection:
        row: tuple[Any, ...] | None = connection.execute(query).fetchone()
        return row
