"""Two stores on one database, like two servers, with clocks that only the test moves."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from msgspec.structs import replace

from models.database.address import PostgresqlUrl
from models.order import Attempt, Status
from models.postgresql.connection.database import RetryingPostgresqlDatabase
from models.postgresql.store import PostgresqlStore
from models.writes.attempts import Outcome
from tests.models.postgresql.engine import PostgresqlEngine
from tests.models.samples import Clock
from tests.models.shorthand_store import ShorthandStore

LEASE_S = 5


class Server(ShorthandStore):
    """The store of one server, with clocks that only the test moves. Errors are not retried.

    If `lease_s` is 0, the leases of all other servers have expired for this server.
    """

    def __init__(
        self, engine: PostgresqlEngine, clock: Clock, *, database_clock: Clock, lease_s: float = LEASE_S
    ) -> None:
        self.monotonic_s = 0.0
        self.database = RetryingPostgresqlDatabase(PostgresqlUrl(engine.url), deadline_s=0)
        store = PostgresqlStore(
            self.database,
            clock=clock,
            monotonic=lambda: self.monotonic_s,
            lease_s=lease_s,
            read_database_us=database_clock,
        )
        super().__init__(store)

    def live(self, duration_s: int) -> None:
        """Tends the store each second, as the order service does."""
        for _ in range(duration_s):
            self.monotonic_s += 1
            self.tend()


@contextmanager
def two_servers(engine: PostgresqlEngine, clock: Clock) -> Iterator[tuple[Server, Server]]:
    """Two servers that have started, and that have no orders."""
    first, second = (Server(engine, clock, database_clock=clock) for _ in range(2))
    with ExitStack() as cleanup:
        for server in (first, second):
            server.connect()
            cleanup.callback(server.database.close)
            server.recover()
        yield first, second


def check(engine: PostgresqlEngine, store: ShorthandStore) -> None:
    """The totals equal a recount, and the tables agree."""
    totals = store.totals()
    assert totals == replace(engine.recount(), oldest_pending_us=totals.oldest_pending_us)
    engine.check()


def completed(attempt: Attempt) -> Outcome:
    return Outcome(attempt.sequence, attempt.claim, Status.COMPLETED)
