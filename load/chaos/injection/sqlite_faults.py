"""Injects the faults of servers on SQLite files. Runs on the event loop; calls that block run on other threads."""

import asyncio
import resource
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

from load.chaos.clients.client import DISK_FULL
from load.chaos.databases.database import Database
from load.chaos.databases.disk import NotPossible
from load.chaos.databases.sqlite import SqliteDatabase
from load.chaos.faults import TARGETS, Fault, FaultKind, SecondStart
from load.chaos.injection.injector import Effect, Faults
from load.chaos.injection.second_server import SecondServers
from load.chaos.report import WRONG
from load.chaos.target import Target, orders_for
from load.system.server_process import ServerProcess

Check = Callable[[], list[str]]


def use_sqlite(folder: Path, *, server: Sequence[str], seed: int) -> tuple[Mapping[str, Database], Faults]:
    """Return the databases of the targets, and the faults of their kind. `server` starts a second server."""
    orders = orders_for(seed=seed, name="second")
    second_servers = SecondServers(command=server, folder=folder, orders=orders, rng=Random(f"second {seed}"))
    databases = {name: SqliteDatabase(folder / name / "orders.db") for name in TARGETS}
    return databases, SqliteFaults(second_servers).methods


@dataclass
class SqliteFaults:
    """Fills the disk, and starts second servers."""

    second_servers: SecondServers

    @property
    def methods(self) -> Faults:
        return {
            FaultKind.FULL_DISK: self._fill_disk,
            FaultKind.SECOND: self._start_second,
            FaultKind.DAMAGE: self._break_second,
            FaultKind.WAL: self._break_second,
            FaultKind.READ_ONLY: self._break_second,
        }

    async def _fill_disk(self, target: Target, fault: Fault) -> Effect:
        process, before = target.nodes[0].process, target.client_errors[DISK_FULL]
        try:
            if _limit_file_size(process, 1):
                await asyncio.sleep(fault.length_s)
        finally:
            _limit_file_size(process, None)
        refused = target.client_errors[DISK_FULL] - before
        return Effect(refused > 0, f"for {fault.length_s:.1f} s, {refused} requests refused for it")

    async def _start_second(self, target: Target, fault: Fault) -> Effect:
        second, start = self.second_servers, SecondStart(fault.detail)
        check = second.on_hard_link if start is SecondStart.HARD_LINK else second.without_lock_file
        [node] = target.nodes
        async with node.restart_lock:
            process = node.process
            if not process.url.port or not process.is_running:
                return Effect(False, "no process was running")
            return await _check(
                target, partial(check, Path(target.database.addresses[0]), owner=process.pid), f"refused {start.value}"
            )

    async def _break_second(self, target: Target, fault: Fault) -> Effect:
        second, path = self.second_servers, Path(target.database.addresses[0])
        checks: dict[FaultKind, tuple[Check, str]] = {
            FaultKind.DAMAGE: (partial(second.on_damaged_index, path), "an index of a copy"),
            FaultKind.WAL: (partial(second.on_truncated_wal, path), "the WAL of a copy truncated"),
            FaultKind.READ_ONLY: (second.on_read_only_disk, "the disk of a second server"),
        }
        return await _check(target, *checks[fault.kind])


async def _check(target: Target, check: Check, text: str) -> Effect:
    """Run a check of a second server on another thread, and add the problems to the findings of the target."""
    try:
        problems = await asyncio.to_thread(check)
    except NotPossible as reason:
        return Effect(False, str(reason), is_possible=False)
    except (OSError, sqlite3.Error) as error:
        return Effect(False, str(error))
    for problem in problems:
        target.findings.add(WRONG, problem)
    return Effect(True, text)


def _limit_file_size(process: ServerProcess, size: int | None) -> bool:
    """Limit the server's files to `size` bytes, so that writes fail as on a full disk. None removes the limit.

    Does nothing and returns False before the server listens, because with a limit it could not log its address.
    """
    if not process.url.port or not process.is_running:
        return False
    try:
        _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard if size is None else size, hard))
    except ProcessLookupError:
        return False
    return True
