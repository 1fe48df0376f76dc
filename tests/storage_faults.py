"""Makes the database of a running server fail: a SQLite file, or a PostgreSQL database."""

import contextlib
import resource
import sqlite3
from collections.abc import Iterator

from tests.process import ServerProcess, is_on_postgresql, limit_file_size


@contextlib.contextmanager
def locked_database(server: ServerProcess) -> Iterator[None]:
    """While the block runs, another program locks the database, so that writes wait."""
    if is_on_postgresql():
        # Imported only here, because the tests on SQLite do not need psycopg.
        from tests.postgresql.server_databases import locked

        with locked(server.database):
            yield
        return
    with contextlib.closing(sqlite3.connect(server.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


@contextlib.contextmanager
def full_disk(server: ServerProcess, *, has_room: bool = True) -> Iterator[None]:
    """While the block runs, the disk is full. With `has_room`, there is space for a few thousand orders."""
    if is_on_postgresql():
        # Imported only here, because the tests on SQLite do not need psycopg.
        from tests.postgresql.server_databases import full_disk

        with full_disk(server.database, room=3_000 if has_room else 0):
            yield
        return
    limit_file_size(server.pid, 1024 * 1024 if has_room else 1)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            limit_file_size(server.pid, resource.RLIM_INFINITY)
