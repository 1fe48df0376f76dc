"""Runs PostgreSQL for a target, and proxies between the two. Methods block; coroutines don't."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from random import Random
from tempfile import mkdtemp
from typing import Any

import psycopg

from load.chaos.databases.cluster import Cluster, connect
from load.chaos.databases.database import Database
from load.chaos.databases.proxy import Proxy
from load.chaos.report import TOTALS, WRONG
from load.system.postgresql import POLL_EVERY_S, START_LIMIT_S, PostgresqlServer

STATUS = """CASE WHEN work.node IS NOT NULL THEN 'Processing' WHEN work.sequence IS NOT NULL THEN 'Pending'
    WHEN status = 'c' THEN 'Completed' WHEN status = 'f' THEN 'Failed' WHEN status = 'x' THEN 'Cancelled'
    ELSE 'nowhere' END"""
TOTALS_COLUMNS = ("pending", "processing", "completed", "failed", "cancelled", "processing_us", "archived_completed")
CHECKS = {
    "an order is not in one of the tables work and ends": """
SELECT count(*) FROM orders FULL JOIN work USING (sequence) FULL JOIN ends USING (sequence)
WHERE order_id IS NULL OR (work.sequence IS NULL) = (ends.sequence IS NULL) OR work.created_us <> orders.created_us""",
    "a block does not agree with its orders": """
SELECT count(*) FROM (SELECT sequence >> 11 AS block, min(created_us), max(created_us) FROM orders GROUP BY 1) AS found
LEFT JOIN (SELECT block, min(first_us) AS first_us, max(last_us) AS last_us FROM blocks GROUP BY 1) AS stored
    USING (block) WHERE NOT coalesce(first_us <= min AND max <= last_us, false)""",
    "a server that does not exist processes an order": """
SELECT count(*) FROM work WHERE node IS NOT NULL AND node NOT IN (SELECT node FROM nodes)""",
}
"""For each text, how many rows of the tables it is true of."""
AMCHECK = """
SELECT bt_index_check(pg_class.oid, true) FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
JOIN pg_am ON pg_am.oid = relam WHERE amname = 'btree' AND relnamespace = 'public'::regnamespace"""
OF_THE_SERVER = "FROM pg_stat_activity WHERE application_name = 'orders'"


class PostgresqlDatabase(Database):
    """A database on a PostgreSQL server of its own, which has a synchronous standby if `has_standby`.

    The target has `nodes` servers, and each reaches PostgreSQL through one of `proxies`. A task that stops, restarts or
    replaces the primary holds `restart_lock`. If possible, each server of PostgreSQL has a file system of its own.
    """

    begin_lock = "BEGIN; LOCK TABLE nodes IN SHARE MODE"
    begin_snapshot = "BEGIN ISOLATION LEVEL REPEATABLE READ"
    orders = f"""
SELECT order_id, {STATUS}, processed_us - orders.created_us, coalesce(work.claims, ends.claims)
FROM orders LEFT JOIN work USING (sequence) LEFT JOIN ends USING (sequence)"""  # noqa: S608 - constants
    totals = f"SELECT {', '.join(f'sum({name})::bigint AS {name}' for name in TOTALS_COLUMNS)} FROM totals"  # noqa: S608
    error = psycopg.Error

    def __init__(self, folder: Path, *, programs: Path, nodes: int = 1, has_standby: bool = False) -> None:
        # Not in `folder`: the path of a Unix socket must be short.
        self._sockets = Path(mkdtemp(prefix="load-chaos-"))
        self._folder = folder
        self.cluster = Cluster(self._sockets, folder, programs=programs, has_standby=has_standby)
        members = [member.server for member in self.cluster.members]
        # For each server of the target, the folders of the sockets that forward to the servers of PostgreSQL.
        self._proxied = [
            {self._sockets / f"{node}-{server.folder.name}": server for server in members} for node in range(nodes)
        ]
        hosts = (",".join(map(str, folders)) for folders in self._proxied)
        super().__init__([f"postgresql://orders@/postgres?host={each}" for each in hosts])
        self.restart_lock = asyncio.Lock()
        self.proxies = [Proxy() for _ in range(nodes)]
        self._listening: list[asyncio.Server] = []

    @property
    def server(self) -> PostgresqlServer:
        """The primary. A failover changes it."""
        return self.cluster.primary.server

    async def open(self) -> None:
        await asyncio.to_thread(self._create)
        await asyncio.to_thread(self.cluster.start)
        for proxy, folders in zip(self.proxies, self._proxied, strict=True):
            for folder, server in folders.items():
                folder.mkdir(mode=0o700)
                self._listening.append(await proxy.listen(folder / server.socket.name, target=server.socket))

    def _create(self) -> None:
        # PostgreSQL's user must be able to enter the folder, but not to list it.
        for each in (self._sockets, self._folder, self._folder.parent):
            each.chmod(0o711)
        self.cluster.create()

    def close(self) -> None:
        while self._listening:
            self._listening.pop().close()
        self.cluster.close()
        shutil.rmtree(self._sockets, ignore_errors=True)

    @contextmanager
    def connect(self, *, is_read_only: bool = False, timeout_s: float = 0.0) -> Iterator[psycopg.Connection[Any]]:
        """Connect to the primary, not through the proxy. A `timeout_s` of 0 stands for no limit."""
        connection = connect(self.server, options=f"-clock_timeout={timeout_s}s")
        # The connection's own `with` would roll back first, and print a warning if PostgreSQL has crashed.
        with closing(connection):
            yield connection

    def is_busy(self, connection: Any, statement: str) -> bool:
        try:
            connection.execute(statement)
        except psycopg.errors.LockNotAvailable:
            return True
        return False

    def damage(self, connection: Any) -> Iterator[tuple[str, str]]:
        for text, sql in CHECKS.items():
            if count := connection.execute(sql).fetchone()[0]:
                yield TOTALS, f"{text}: {count} times"
        if connection.execute("SELECT FROM pg_available_extensions WHERE name = 'amcheck'").fetchone() is not None:
            connection.execute("CREATE EXTENSION IF NOT EXISTS amcheck")
            try:
                connection.execute(AMCHECK)
            except psycopg.Error as problem:
                yield WRONG, f"amcheck: {problem}"

    def full_disk(self) -> AbstractContextManager[None]:
        """While the block runs, the disk of the primary has no space. Raises NotPossible if it has no own disk."""
        return self.cluster.primary.disk.full()

    def kill_backend(self, rng: Random) -> bool:
        """Send SIGKILL to a process that serves a connection of the server.

        Return False if there is none, or if it has just ended.
        """
        with self.connect() as connection:
            pids = [pid for (pid,) in connection.execute(f"SELECT pid {OF_THE_SERVER}")]
        if not pids:
            return False
        try:
            os.kill(rng.choice(pids), signal.SIGKILL)
        except ProcessLookupError:  # another fault has ended the connection
            return False
        return True

    def terminate_backends(self) -> int:
        """End all connections of the server, and return how many there were."""
        with self.connect() as connection:
            return connection.execute(f"SELECT pg_terminate_backend(pid) {OF_THE_SERVER}").rowcount

    def wait_until_connected(self) -> None:
        """Wait until PostgreSQL accepts connections. Raises psycopg.Error if it does not within a minute."""
        end_s = time.monotonic() + START_LIMIT_S
        while True:
            try:
                with self.connect():
                    return
            except psycopg.OperationalError:
                if time.monotonic() > end_s:
                    raise
                time.sleep(POLL_EVERY_S)
