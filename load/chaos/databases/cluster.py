"""Runs PostgreSQL for a target: one server, or a primary and its synchronous standby. Methods block."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from load.chaos.databases.disk import Disk
from load.cli.errors import CommandError
from load.system.postgresql import POLL_EVERY_S, START_LIMIT_S, PostgresqlServer, give_away

SETTINGS = (
    # A new standby needs the write-ahead log from the end of its copy until its start.
    "wal_keep_size=1GB",
    "wal_retrieve_retry_interval=100ms",
)
STREAMS = "SELECT count(*) FROM pg_stat_replication WHERE application_name = 'walreceiver' AND state = 'streaming'"
WAIT_FOR_STANDBY = "ALTER SYSTEM SET synchronous_standby_names = '*'"
HAS_FLUSHED = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync' AND flush_lsn >= %s"


class Member:
    """A server on a disk of its own. Its sockets are in `sockets`, its other files in `folder`."""

    def __init__(self, name: str, *, sockets: Path, folder: Path, programs: Path) -> None:
        self.disk = Disk(folder / f"{name}-disk")
        self.server = PostgresqlServer(
            sockets / name,
            programs=programs,
            data=self.disk.folder / "data",
            log=folder / f"{name}.log",
            settings=SETTINGS,
        )

    def create_disk(self) -> None:
        self.server.folder.mkdir(mode=0o700)
        self.disk.create()
        give_away(self.disk.folder)

    def close(self) -> None:
        self.server.stop(signal.SIGQUIT)
        self.disk.close()


class Cluster:
    """The servers `members`. The first one is the primary; a second one is its synchronous standby.

    A commit waits until the standby has stored it. Only while there is no standby after a failover, commits do not
    wait, so `kill_primary` must not be called then.
    """

    def __init__(self, sockets: Path, folder: Path, *, programs: Path, has_standby: bool) -> None:
        names = [f"postgresql-{number}" for number in range(1, 3 if has_standby else 2)]
        self.members = [Member(name, sockets=sockets, folder=folder, programs=programs) for name in names]
        self.primary = self.members[0]

    def create(self) -> None:
        for member in self.members:
            member.create_disk()
        self.primary.server.create()

    def start(self) -> None:
        self.primary.server.start()
        if len(self.members) > 1:
            self.add_standby()

    def close(self) -> None:
        for member in self.members:
            member.close()

    @property
    def standby(self) -> Member:
        [standby] = [member for member in self.members if member is not self.primary]
        return standby

    def promote(self) -> None:
        """Make the standby the primary. Return when it accepts writes. The old primary must not run."""
        with connect(self.standby.server) as connection:
            [is_promoted] = connection.execute("SELECT pg_promote()").fetchone() or [False]
        if not is_promoted:
            raise CommandError("PostgreSQL does not promote the standby")
        self.primary = self.standby

    def add_standby(self) -> None:
        """Make the other server a copy of the primary, and start it. Return when each commit waits for it."""
        primary, standby = self.primary.server, self.standby.server
        standby.create_standby(primary.folder)
        standby.start()
        with connect(primary) as connection:
            _wait_until(lambda: _count(connection, STREAMS) > 0)
            connection.execute(WAIT_FOR_STANDBY)
            connection.execute("SELECT pg_reload_conf()")
            # A new connection has the setting only after the first process has told all others to read it again.
            _wait_until(lambda: _is_waiting(primary))
            # Commits wait as soon as the checkpointer has read the setting. It does so before each checkpoint, but not
            # if it has already begun the first one.
            connection.execute("CHECKPOINT")
            connection.execute("CHECKPOINT")
            # Earlier commits have not waited, but have been flushed on the primary.
            [position] = connection.execute("SELECT pg_current_wal_flush_lsn()").fetchone() or [None]
            _wait_until(lambda: _count(connection, HAS_FLUSHED, position) > 0)


def connect(server: PostgresqlServer, **parameters: Any) -> psycopg.Connection[Any]:
    """Connect in autocommit mode."""
    return psycopg.connect(server.url, autocommit=True, **parameters)


def _is_waiting(server: PostgresqlServer) -> bool:
    with connect(server) as connection:
        return connection.execute("SHOW synchronous_standby_names").fetchone() == ("*",)


def _count(connection: psycopg.Connection[Any], sql: str, *parameters: object) -> int:
    [count] = connection.execute(sql, parameters).fetchone() or [0]
    return int(count)


def _wait_until(is_done: Callable[[], bool]) -> None:
    end_s = time.monotonic() + START_LIMIT_S
    while not is_done():
        if time.monotonic() > end_s:
            raise CommandError("PostgreSQL's standby does not receive the changes of the primary")
        time.sleep(POLL_EVERY_S)
