"""SQLite's integrity check, which also compares the indexes with the tables. Runs on the caller's thread."""

import sqlite3
from collections.abc import Iterator

MAX_LINES = 100
"""SQLite's own default."""
_HEADER = "*** in database"


def integrity_errors(connection: sqlite3.Connection, *, limit: int = MAX_LINES) -> Iterator[str]:
    """Yields one line for each of the first `limit` errors. Raises sqlite3.DatabaseError if the check can't be made."""
    try:
        texts = connection.execute(f"PRAGMA integrity_check({limit})").fetchall()
    except sqlite3.DatabaseError:
        if limit == 1:
            raise
        # The check has failed after it had found errors, of which at least the first one can be read.
        texts = connection.execute("PRAGMA integrity_check(1)").fetchall()
    for (text,) in texts:
        yield from (line for line in text.splitlines() if line != "ok" and not line.startswith(_HEADER))
