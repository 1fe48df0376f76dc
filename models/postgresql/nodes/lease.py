"""The lease of this server: its number, and when it was renewed. Used on the writer's thread."""

import os
import platform
import time
from collections.abc import Callable

from models.postgresql.nodes import node_statements
from models.postgresql.nodes.node_statements import LEASE_S
from models.postgresql.schema.steps import SCHEMA_VERSION
from models.postgresql.transaction import Connection, one_row


class Lease:
    """This server's row in the table `nodes`.

    `lease_s` is how long a lease lasts; `clock` returns monotonic seconds.
    """

    def __init__(self, *, lease_s: float = LEASE_S, clock: Callable[[], float] = time.monotonic) -> None:
        self.lease_s = lease_s
        self._clock = clock
        self._node: int | None = None
        self._alive_since_s = clock()
        self._renewed_s = clock()

    @property
    def node(self) -> int:
        """The number of this server. Must only be read after `register`."""
        if self._node is None:
            raise AssertionError("the server has no number")
        return self._node

    @property
    def is_registered(self) -> bool:
        """Whether this server has a number."""
        return self._node is not None

    def register(self, connection: Connection) -> None:
        """Gets a new number for this server. A number is never used again."""
        name = f"{platform.node()}:{os.getpid()}"
        [self._node] = one_row(connection.execute(node_statements.REGISTER, {"name": name, "schema": SCHEMA_VERSION}))
        self._alive_since_s = self._renewed_s = self._clock()

    def forget(self) -> None:
        """Forgets the number of this server."""
        self._node = None

    def note_renewal(self) -> None:
        """Must be called after each transaction that has renewed the lease."""
        if self._is_interrupted:
            self._alive_since_s = self._clock()
        self._renewed_s = self._clock()

    @property
    def renewed_before_s(self) -> float:
        """How many seconds ago the lease was renewed."""
        return self._clock() - self._renewed_s

    @property
    def expiry_s(self) -> float | None:
        """After how many seconds without a renewal this server may take over another server.

        None until this server has renewed its own lease for as long as a lease lasts, without an interruption. Without
        this rule, servers would take each other for dead after an outage of the database.
        """
        is_alive = not self._is_interrupted and self._clock() - self._alive_since_s >= self.lease_s
        return self.lease_s if is_alive else None

    @property
    def _is_interrupted(self) -> bool:
        """Whether the last renewal was so long ago that the database was possibly down.

        Others have possibly renewed their leases a second earlier, and then need a second more to connect again.
        """
        return self.renewed_before_s > self.lease_s / 2
