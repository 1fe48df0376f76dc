"""Starts, kills and restarts a server of a target. Runs on the event loop; other threads wait for the processes."""

import asyncio
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from load.chaos.report import WRONG, Findings
from load.chaos.servers.controlled import Controls
from load.http.address import Address, ServerUrl
from load.system.ports import reserve_port
from load.system.server_process import DidNotStart, ServerProcess

LAUNCH_LIMIT_S, FAILED_LAUNCH_STOP_S, STOP_LIMIT_S = 40.0, 1.0, 60.0
"""Time limits. A server can wait 12 s for a lock when it starts or stops, and 3 s more for a webhook when it stops."""
START_LIMIT_S = 8.0  # The limit for a start that nothing blocks; most take less than a second.
START_ATTEMPTS, RETRY_START_S, WATCH_EVERY_S = 5, 0.5, 0.5


class RunFailed(Exception):
    """The run can't go on: a server can't be started, or the receiver can't listen on its port."""


def address_of(reserved: socket.socket) -> Address:
    """Return the address of the server that listens on a reserved port."""
    host, port = reserved.getsockname()
    return Address(ServerUrl.parse(f"http://{host}:{port}"), reserved.family, (host, port))


class Node:
    """Runs a server on the database with the address `database`. `command` starts the server; flags are added.

    `process` is the last process launched, and `starts` counts the launches. A task that stops and restarts the server
    holds `restart_lock`. `controls` works only if the command runs `load.chaos.servers.controlled`. A start that
    nothing blocks must take less than `start_limit_s`. The logs are in `folder`, which is created.
    """

    def __init__(
        self,
        *,
        findings: Findings,
        command: Sequence[str],
        controls: Controls,
        folder: Path,
        database: str,
        start_limit_s: float = START_LIMIT_S,
    ) -> None:
        folder.mkdir(parents=True)
        self.findings = findings
        self.controls = controls
        self.starts = 0
        self._start_limit_s = start_limit_s
        self.restart_lock = asyncio.Lock()
        self._blocks = 0
        self._unblocked_s = 0.0
        self._reserved_port = reserve_port()
        self.address = address_of(self._reserved_port)
        arguments = [*command, "--port", str(self.address.url.port), "--database", database]
        limits: dict[str, Any] = {"start_s": LAUNCH_LIMIT_S, "stop_s": FAILED_LAUNCH_STOP_S}
        self._processes = (
            ServerProcess(arguments, log=folder / f"server-{number}.log", **limits) for number in count()
        )
        self.process = next(self._processes)

    @contextmanager
    def start_blocked(self) -> Iterator[None]:
        """While the block runs, a failed or slow start is not a finding, because an injected fault can be the cause."""
        self._blocks += 1
        try:
            yield
        finally:
            self._blocks -= 1
            self._unblocked_s = time.monotonic()

    async def start(self) -> float:
        """Start the server, and return the seconds until it listens. Raises RunFailed after five failed attempts.

        An attempt can fail because another program has locked the database.
        """
        begun_s = time.monotonic()
        for _ in range(START_ATTEMPTS):
            try:
                await self._launch()
            except DidNotStart as problem:
                last_line = [*filter(str.strip, str(problem).splitlines())][-1].strip()
                self._add_unless_blocked(f"a start failed: {last_line}", since_s=begun_s)
                await asyncio.sleep(RETRY_START_S)
            else:
                took_s = time.monotonic() - begun_s
                if took_s > self._start_limit_s:
                    self._add_unless_blocked(f"a start took {took_s:.1f} s", since_s=begun_s)
                return took_s
        raise RunFailed(f"the {self.findings.target} server can't be started")

    async def restart_when_ended(self, *, every_s: float = WATCH_EVERY_S) -> None:
        """Restart the server whenever it ends by itself, and add a finding each time. Runs until cancelled."""
        while True:
            if not self.restart_lock.locked() and not self.process.is_running:
                async with self.restart_lock:
                    # The fault that held `restart_lock` before can have started the server.
                    if not self.process.is_running:
                        self._add_ended_by_itself(self.process.exit_status)
                        await self.start()
            await asyncio.sleep(every_s)

    async def kill(self) -> None:
        """Send SIGKILL; add a finding if the server had already ended."""
        status = await asyncio.to_thread(self.process.kill)
        if status != -signal.SIGKILL:
            self._add_ended_by_itself(status)

    async def kill_while_starting(self, *, after_s: float) -> None:
        """Start the server and send SIGKILL `after_s` later; add a finding if the server had already ended."""
        begun_s = time.monotonic()
        starting = self._launch()
        await asyncio.wait([starting], timeout=after_s)
        # Polled, because another thread launches the process, or fails to.
        while not (self.process.is_launched or starting.done()):  # noqa: ASYNC110
            await asyncio.sleep(0)
        status = await asyncio.to_thread(self.process.kill)
        if status not in (None, -signal.SIGKILL):
            text = f"the server ended by itself with status {status} while it started"
            self._add_unless_blocked(text, since_s=begun_s)
        await asyncio.wait([starting])
        # Retrieve the exception, or asyncio logs it. There is none if the server listened before the kill.
        starting.exception()

    async def terminate(self) -> float:
        """Send SIGTERM and return the seconds until the server ended; add a finding if its exit status is not 0."""
        begun_s = time.monotonic()
        if not self.process.is_running:
            self._add_ended_by_itself(self.process.exit_status)
        status = await asyncio.to_thread(self.process.terminate, STOP_LIMIT_S)
        if status is None:
            self.findings.add(WRONG, "the server did not end after SIGTERM")
        elif status:
            self.findings.add(WRONG, f"exit status {status} after SIGTERM")
        return time.monotonic() - begun_s

    def close(self) -> None:
        """Kill the process and free the port; can be called twice. Blocks for a moment."""
        self.process.kill()
        self._reserved_port.close()

    def _launch(self) -> asyncio.Future[ServerProcess]:
        """Launch the next process. The future is done when the server listens. It raises DidNotStart if it does not."""
        self.process = next(self._processes)
        self.starts += 1
        return asyncio.ensure_future(asyncio.to_thread(self.process.__enter__))

    def _add_ended_by_itself(self, status: int | None) -> None:
        self.findings.add(WRONG, f"the server ended by itself with status {status}")

    def _add_unless_blocked(self, text: str, *, since_s: float) -> None:
        """Add a finding, unless starts were blocked at any time since `since_s`."""
        if not self._blocks and self._unblocked_s < since_s:
            self.findings.add(WRONG, text)
