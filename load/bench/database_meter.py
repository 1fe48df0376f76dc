"""Measures what a PostgreSQL server uses: CPU time, write-ahead log, syncs, and what its connections wait for.

Blocks the thread while PostgreSQL responds. Another thread samples the connections.
"""

import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from load.system.machine import PROC

SAMPLE_EVERY_S = 0.01
RUNNING = "CPU"
"""The label of a connection that waits for nothing: it runs, or waits for a free CPU."""
STATISTICS_AFTER_S = 1.5
"""PostgreSQL counts a sync in its statistics up to a second after the sync."""

_WAL_BYTES = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
# A row stays in `orders` and in `ends` for ever. The other tables hardly grow.
_STORED_BYTES = "SELECT pg_total_relation_size('orders') + pg_total_relation_size('ends')"
_WAL_SYNCS = "SELECT wal_sync FROM pg_stat_wal"
_WAL_SYNCS_18 = "SELECT sum(fsyncs)::bigint FROM pg_stat_io WHERE object = 'wal'"
# A connection of a server waits for the server during a transaction (ClientRead), and otherwise for PostgreSQL.
_WAITS = f"""
SELECT coalesce(wait_event_type || ' ' || wait_event, '{RUNNING}'), count(*) FROM pg_stat_activity
WHERE application_name = 'orders' AND datname = current_database() AND state <> 'idle' GROUP BY 1"""  # noqa: S608 - a constant


class Use(NamedTuple):
    """What PostgreSQL has used so far. `cpu_s` is the CPU time of all its processes; None if they run elsewhere.

    `stored_bytes` is the size of the tables of orders, with their indexes.
    """

    wal_bytes: int
    stored_bytes: int
    cpu_s: float | None


class DatabaseMeter:
    """Reads the counters of a PostgreSQL server. Both connections must be in autocommit mode, and to this server.

    `read` does not count the CPU time that the two connections use.
    """

    def __init__(self, connection: Any, sampling: Any, *, proc: Path = PROC) -> None:
        self._connection = connection
        self._sampling = sampling
        self._processes = _Processes.of(connection, {_pid(each) for each in (connection, sampling)}, proc)

    def read(self) -> Use:
        return Use(
            self._value(_WAL_BYTES), self._value(_STORED_BYTES), self._processes.cpu_s() if self._processes else None
        )

    def wal_syncs(self) -> int:
        """How often the write-ahead log was synced. Does not count the syncs of the last STATISTICS_AFTER_S."""
        is_18 = self._connection.info.server_version >= 180_000
        return self._value(_WAL_SYNCS_18 if is_18 else _WAL_SYNCS)

    @contextmanager
    def waits(self, waits: "Waits") -> Iterator[None]:
        """During the block, adds samples of what the connections of the servers wait for."""
        ended = threading.Event()

        def sample() -> None:
            while not ended.wait(SAMPLE_EVERY_S):
                waits.add(dict(self._sampling.execute(_WAITS).fetchall()))

        thread = threading.Thread(target=sample)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _value(self, statement: str) -> int:
        [value] = self._connection.execute(statement).fetchone()
        return int(value)


class Waits:
    """Samples of what connections wait for. `counts` has the number of waiting connections in all samples."""

    def __init__(self) -> None:
        self.samples = 0
        self.counts = Counter[str]()

    def add(self, sample: Mapping[str, int]) -> None:
        self.samples += 1
        self.counts.update(sample)

    def shares(self, servers: int) -> dict[str, float]:
        """The shares of the time of one connection for each server, largest first.

        If a server uses only this connection, the rest is the time in which it has no transaction.
        """
        total = max(1, self.samples * servers)
        return {label: count / total for label, count in self.counts.most_common()}


class _Processes:
    """The processes of a PostgreSQL server on this machine. Does not count the processes `left_out`."""

    def __init__(self, first: int, left_out: set[int], proc: Path) -> None:
        self._first = first
        self._left_out = left_out
        self._proc = proc

    @classmethod
    def of(cls, connection: Any, left_out: set[int], proc: Path) -> "_Processes | None":
        """The processes of the server of this connection; None if they run on another machine."""
        pid = _pid(connection)
        with suppress(FileNotFoundError):
            if (proc / str(pid) / "cmdline").read_bytes().startswith(b"postgres: "):
                return cls(_Stat.read(proc, pid).parent, left_out, proc)
        return None

    def cpu_s(self) -> float:
        """The CPU time of all processes, also of those that have ended, which is added to that of their parent."""
        ticks = 0
        for entry in self._proc.iterdir():
            if entry.name.isdecimal() and (pid := int(entry.name)) not in self._left_out:
                with suppress(FileNotFoundError, ProcessLookupError):
                    stat = _Stat.read(self._proc, pid)
                    if pid == self._first:
                        ticks += stat.ticks + stat.ticks_of_ended_children
                    elif stat.parent == self._first:
                        ticks += stat.ticks
        return ticks / os.sysconf("SC_CLK_TCK")


class _Stat(NamedTuple):
    """Fields of /proc/PID/stat. Times are in clock ticks."""

    parent: int
    ticks: int
    ticks_of_ended_children: int

    @classmethod
    def read(cls, proc: Path, pid: int) -> "_Stat":
        # The process's name can contain any characters; it ends at the last ")".
        fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
        user, system, children_user, children_system = map(int, fields[11:15])
        return cls(int(fields[1]), user + system, children_user + children_system)


def _pid(connection: Any) -> int:
    return int(connection.info.backend_pid)
