"""New stores for tests that do not depend on the kind of database."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from models.clock import Clock
from models.sqlite.store import SqliteStore
from models.store import Store
from tests.models.new_database import open_new_database
from tests.process import is_on_postgresql


class NewStore(NamedTuple):
    """A store whose database only this test uses. It does not retry errors.

    `set_read_only` makes writes of the calling thread's connection fail, or lets them succeed again. `give_back` must
    be called when the store is not used any more.
    """

    store: Store
    set_read_only: Callable[[bool], object]
    give_back: Callable[[], object]


def open_new_store(path: Path, *, clock: Clock) -> NewStore:
    """The store in the file, which is created if it does not exist, or in an empty PostgreSQL database."""
    if is_on_postgresql():
        # Imported only here, because the tests on SQLite do not need psycopg.
        from tests.models.postgresql.new_store import open_new_postgresql_store

        return open_new_postgresql_store(clock)
    database = open_new_database(path)
    return NewStore(
        SqliteStore(database, clock=clock),
        lambda is_read_only: database.pragma("query_only", int(is_read_only)),
        lambda: None,
    )
