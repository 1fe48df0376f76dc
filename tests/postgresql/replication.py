"""A primary with a synchronous standby, made with PostgreSQL's own tools."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.postgresql.databases import connect, execute
from tests.postgresql.server import PrivateServer
from tests.process import wait_until


class Replication:
    """A primary, which commits only while its standby is connected, and this standby. `url` names both."""

    def __init__(self, primary: PrivateServer, standby: PrivateServer) -> None:
        self.primary = primary
        self.standby = standby
        self.url = f"{primary.url()},{standby.folder}"

    def promote(self) -> None:
        """Makes the standby the primary. Returns when this server accepts writes."""
        with connect(self.standby.url()) as connection:
            assert execute(connection, "SELECT pg_promote()") == [(True,)]


@contextmanager
def replication() -> Iterator[Replication]:
    """Starts both servers. The end of `with` stops them."""
    with PrivateServer() as primary, PrivateServer(standby_of=primary.folder) as standby:
        with connect(primary.url()) as connection:
            execute(connection, "ALTER SYSTEM SET synchronous_standby_names = '*'")
            execute(connection, "SELECT pg_reload_conf()")
            states = "SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'"
            wait_until(lambda: execute(connection, states) == [("sync",)])
        yield Replication(primary, standby)
