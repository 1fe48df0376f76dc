"""New stores for tests that do not depend on the kind of database."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from models.clock import Clock
from models.sqlite.store import SqliteStore
from models.store import Store
from tests.models.new_database import open_new_database
from tests.process import is_on_postgresql


class NewStore(NamedTuple):
    """A store whose database only this test uses, and which does not retry errors.

    `set_read_only` makes writes of the calling thread's connection fail, or lets them succeed again. While the block of
    `locked` runs, another program locks the database, so writes raise a StorageBusyError. `reopen` returns the store of
    a new process, after the process of `store` was killed. `give_back` must be called when the store is not used any
    more.
    """

    store: Store
    set_read_only: Callable[[bool], object]
    locked: Callable[[], AbstractContextManager[None]]
    reopen: Callable[[], Store]
    give_back: Callable[[], object]


def open_new_store(path: Path, *, clock: Clock) -> NewStore:
    """The store in the file, which is created if it does not exist, or in an empty PostgreSQL database."""
    if is_on_postgresql():
        # Imported only here, because the tests on SQLite do not need psycopg.
        from tests.models.postgresql.new_store import open_new_postgresql_store

        return open_new_postgresql_store(clock)
    database = open_new_database(path)

    @contextmanager
    def locked() -> Iterator[None]:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield

    return NewStore(
        store=SqliteStore(database, clock=clock),
        set_read_only=lambda is_read_only: database.pragma("query_only", int(is_read_only)),
        locked=locked,
        reopen=lambda: SqliteStore(open_new_database(path), clock=clock),
        give_back=lambda: None,
    )
