"""The servers that use the database. Read on the writer's thread; the results can be used on any thread."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from models.database.servers import Server
from models.postgresql.connection.database import RetryingPostgresqlDatabase
from models.postgresql.connection.errors import storage_errors
from models.postgresql.nodes import node_statements
from models.postgresql.nodes.lease import Lease
from models.wire import decode_servers


class Others(NamedTuple):
    """Whether there are other servers, and servers whose lease has expired, and how often any server has resumed."""

    exist: bool
    have_expired: bool
    resumes: int


class ServerList:
    """The servers as of the last `read`. Before that, it is empty."""

    def __init__(
        self,
        database: RetryingPostgresqlDatabase,
        *,
        lease: Lease,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._lease = lease
        self._monotonic = monotonic
        self._servers: Sequence[Server] = ()
        self._read_s = monotonic()
        self.living = 1
        """How many servers have a lease that has not expired. At least 1, for this server."""

    def read(self) -> Others:
        """Reads the list. This server must have a number. Raises a StorageError."""
        parameters = {"node": self._lease.node, "lease_s": self._lease.lease_s}
        with storage_errors():
            *others, servers = self._database.execute_sql(node_statements.OTHERS, parameters).fetchone()
        self._read_s = self._monotonic()
        self._servers = decode_servers(servers)
        self.living = max(1, sum(server.is_alive for server in self._servers))
        return Others(*others)

    def current(self) -> list[Server]:
        """The servers, with the current ages of their leases. A lease that was renewed since `read` is younger."""
        passed_s = self._monotonic() - self._read_s
        return [replace(server, lease_age_s=server.lease_age_s + passed_s) for server in self._servers]
