"""New stores in PostgreSQL for tests that do not depend on the kind of database."""

from collections.abc import Iterator
from contextlib import contextmanager

from models.clock import Clock
from models.database.address import PostgresqlUrl
from models.postgresql.connection.database import RetryingPostgresqlDatabase
from models.postgresql.store import PostgresqlStore
from models.store import Store
from tests.models.new_store import NewStore
from tests.postgresql.databases import EmptiedDatabase, connect, execute


class LoneStore(PostgresqlStore):
    """A store whose database no other server uses. So the service reports the changes itself, as for a file."""

    feed = None


_free: list[EmptiedDatabase] = []
"""The databases of this process that no store uses."""


def open_new_postgresql_store(clock: Clock) -> NewStore:
    """A store in an empty database, whose clock is the same."""
    taken = _free.pop() if _free else EmptiedDatabase()
    taken.empty()
    database = RetryingPostgresqlDatabase(PostgresqlUrl(taken.url), deadline_s=0)

    def set_read_only(is_read_only: bool) -> None:
        database.execute_sql(f"SET default_transaction_read_only = {'on' if is_read_only else 'off'}")

    @contextmanager
    def locked() -> Iterator[None]:
        with connect(taken.url) as other, other.transaction():
            # Each write begins with an update of this table. Reads do not wait.
            execute(other, "LOCK TABLE nodes IN SHARE MODE")
            yield

    def reopen() -> Store:
        # As if the lease of the process that was killed had expired.
        execute(taken.connection, "UPDATE nodes SET beat = '-infinity'")
        reopened = RetryingPostgresqlDatabase(PostgresqlUrl(taken.url), deadline_s=0)
        return LoneStore(reopened, clock=clock, read_database_us=clock)

    return NewStore(
        store=LoneStore(database, clock=clock, read_database_us=clock),
        set_read_only=set_read_only,
        locked=locked,
        reopen=reopen,
        give_back=lambda: _free.append(taken),
    )
