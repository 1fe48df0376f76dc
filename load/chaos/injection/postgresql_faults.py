"""Injects the faults of PostgreSQL. Runs on the event loop; calls that block run on other threads."""

import asyncio
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

from load.chaos.clients.client import DISK_FULL
from load.chaos.databases.database import Database
from load.chaos.databases.disk import NotPossible
from load.chaos.databases.postgresql import PostgresqlDatabase
from load.chaos.faults import TARGETS, Crash, Cut, Fault, FaultKind, Isolation
from load.chaos.injection.injector import Effect, Faults
from load.chaos.report import WRONG
from load.chaos.target import Target

ACCEPTANCE_LIMIT_S, POLL_EVERY_S = 60.0, 0.1
SIGNALS = {Crash.IMMEDIATE: signal.SIGQUIT, Crash.KILL: signal.SIGKILL}


def use_postgresql(folder: Path, *, programs: Path, seed: int, nodes: int) -> tuple[Mapping[str, Database], Faults]:
    """Return the databases of targets with `nodes` servers, and the faults of their kind.

    If there are several servers, PostgreSQL has a standby.
    """
    databases = {
        name: PostgresqlDatabase(folder / name, programs=programs, nodes=nodes, has_standby=nodes > 1)
        for name in TARGETS
    }
    return databases, PostgresqlFaults(databases=databases, rng=Random(f"backends {seed}")).methods


@dataclass(kw_only=True)
class PostgresqlFaults:
    """Crashes PostgreSQL, fills its disk, and cuts its connections. `databases` has each target's database."""

    databases: Mapping[str, PostgresqlDatabase]
    rng: Random

    @property
    def methods(self) -> Faults:
        return {
            FaultKind.FULL_DISK: self._fill_disk,
            FaultKind.CRASH: self._crash,
            FaultKind.BACKEND: self._kill_backend,
            FaultKind.CUT: self._cut,
            FaultKind.STALL: self._stall,
            FaultKind.ISOLATE: self._isolate,
            FaultKind.FAILOVER: self._fail_over,
        }

    async def _fill_disk(self, target: Target, fault: Fault) -> Effect:
        database, before = self.databases[target.name], target.client_errors[DISK_FULL]
        async with database.restart_lock:
            try:
                with target.start_blocked(), database.full_disk():
                    await asyncio.sleep(fault.length_s)
            except NotPossible as reason:
                return Effect(False, str(reason), is_possible=False)
            # Without space for its write-ahead log, PostgreSQL ends itself.
            was_running = database.server.is_running
            await asyncio.to_thread(database.server.start)
        refused = target.client_errors[DISK_FULL] - before
        ended = "" if was_running else ", PostgreSQL ended"
        return Effect(refused > 0, f"for {fault.length_s:.1f} s, {refused} requests refused for it{ended}")

    async def _crash(self, target: Target, fault: Fault) -> Effect:
        database = self.databases[target.name]
        async with database.restart_lock:
            with target.start_blocked():
                await asyncio.to_thread(database.server.stop, SIGNALS[Crash(fault.detail)])
                await asyncio.sleep(fault.length_s)
                begun_s = time.monotonic()
                await asyncio.to_thread(database.server.start)
        return Effect(True, f"{fault.detail}: {fault.length_s:.1f} s, back after {time.monotonic() - begun_s:.1f} s")

    async def _kill_backend(self, target: Target, fault: Fault) -> Effect:
        """Kill one process of PostgreSQL. PostgreSQL then ends all others, and recovers as after a crash."""
        database = self.databases[target.name]
        async with database.restart_lock:
            with target.start_blocked():
                try:
                    # While this task holds the lock, the server is not restarted, so it has connections.
                    async with target.nodes[fault.node].restart_lock:
                        was_killed = await asyncio.to_thread(database.kill_backend, self.rng)
                except database.error as problem:
                    return Effect(False, str(problem).partition("\n")[0])
                begun_s = time.monotonic()
                await asyncio.to_thread(database.wait_until_connected)
        text = f"killed, PostgreSQL back after {time.monotonic() - begun_s:.1f} s"
        return Effect(was_killed, text if was_killed else "the server had no connection")

    async def _cut(self, target: Target, fault: Fault) -> Effect:
        database, cut = self.databases[target.name], 0
        proxy = database.proxies[fault.node]
        with target.start_blocked():
            for _ in range(fault.count):
                if Cut(fault.detail) is Cut.TERMINATE:
                    # There is an error while PostgreSQL does not run.
                    with suppress(database.error):
                        cut += await asyncio.to_thread(database.terminate_backends)
                else:
                    cut += proxy.cut()
                await asyncio.sleep(fault.length_s / fault.count)
            cut -= proxy.forget_cuts()
        return Effect(cut > 0, f"{fault.detail}: {cut} connections in {fault.length_s:.1f} s")

    async def _stall(self, target: Target, fault: Fault) -> Effect:
        database = self.databases[target.name]
        with target.start_blocked():
            stalled = sum(await asyncio.gather(*(proxy.stall(fault.length_s) for proxy in database.proxies)))
        return Effect(stalled > 0, f"{stalled} connections for {fault.length_s:.1f} s")

    async def _isolate(self, target: Target, fault: Fault) -> Effect:
        """Cut one of several servers off from PostgreSQL."""
        proxy = self.databases[target.name].proxies[fault.node]
        cut_off = proxy.stall if Isolation(fault.detail) is Isolation.STALL else proxy.refuse
        with target.start_blocked():
            target.note_outage(fault.node)
            affected = await cut_off(fault.length_s)
        return Effect(affected > 0, f"{fault.detail} for {fault.length_s:.1f} s")

    async def _fail_over(self, target: Target, fault: Fault) -> Effect:
        """Kill the primary, promote its standby, and make the old primary the standby of the new one."""
        database, times = self.databases[target.name], target.acceptance_times
        cluster = database.cluster
        async with database.restart_lock:
            with target.start_blocked():
                killed_s = time.monotonic()
                await asyncio.to_thread(cluster.primary.server.kill_all)
                await asyncio.sleep(fault.length_s)
                promoting_s = time.monotonic()
                await asyncio.to_thread(cluster.promote)
                promoted_s = time.monotonic()
            await asyncio.to_thread(cluster.add_standby)
            restored_s = time.monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(ACCEPTANCE_LIMIT_S):
                while not times.has_any_since(promoting_s):  # noqa: ASYNC110 - each 202 would have to set an event
                    await asyncio.sleep(POLL_EVERY_S)
        if not times.has_any_since(promoting_s):
            target.findings.add(WRONG, f"no 202 in {ACCEPTANCE_LIMIT_S:.0f} s after a failover")
            return Effect(True, "no 202 afterwards")
        outage = times.outage(killed_s=killed_s, promoting_s=promoting_s, promoted_s=promoted_s, restored_s=restored_s)
        target.findings.outages.append(outage)
        standby = f"standby back after {restored_s - killed_s:.1f} s"
        return Effect(
            True, f"promoted after {promoted_s - killed_s:.1f} s, 202 after {outage.from_kill_s:.1f} s, {standby}"
        )
