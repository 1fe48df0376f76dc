"""Starts a server as a separate process, and stops it. Usable on any thread. Starting and stopping block the thread."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from load.cli.errors import CommandError
from load.cli.program import uninterrupted
from load.http.address import ServerUrl

ROOT = Path(__file__).resolve().parents[2]
LISTENING = re.compile(r"listening on (http://127\.0\.0\.1:\d+)")
LAST_LINES = 5
POLL_EVERY_S = 0.01


class DidNotStart(CommandError):
    """The server ended at once, or did not listen in time; the text has its last log lines."""


class DidNotEnd(CommandError):
    """After SIGTERM, the server did not end in time, or ended with a status other than 0."""


@dataclass
class ServerProcess:
    """Runs a server. In the `with` block, the server listens at `url`. After the block, it gets SIGTERM.

    The server is Python with these `arguments`, in the project's folder. Its output goes to `log`. `ready` finds the
    URL in this output. Raises DidNotStart if the server does not listen within `start_s`. If it does not end within
    `stop_s`, it gets SIGKILL.

    If the block has raised no exception, raises DidNotEnd if the server got SIGKILL or its exit status is not 0.
    """

    arguments: Sequence[str]
    _: KW_ONLY
    log: Path
    clock_s: Callable[[], float] = time.monotonic
    start_s: float = 15.0
    stop_s: float = 30.0
    ready: re.Pattern[str] = LISTENING
    url: ServerUrl = field(default=ServerUrl("", 0, "", ""), init=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def pid(self) -> int:
        return self._launched.pid

    @property
    def is_launched(self) -> bool:
        return self._process is not None

    @property
    def exit_status(self) -> int | None:
        """The exit status of the process; None while it runs, and before it is launched."""
        return self._process.poll() if self._process else None

    @property
    def is_running(self) -> bool:
        return self.is_launched and self.exit_status is None

    def send_signal(self, number: int) -> None:
        """Send a signal; no effect before the launch or after the end."""
        if self._process:
            self._process.send_signal(number)

    def kill(self) -> int | None:
        """Send SIGKILL and return the exit status; None if the process was never launched. Blocks for a moment."""
        self.send_signal(signal.SIGKILL)
        return self._process.wait() if self._process else None

    def terminate(self, limit_s: float) -> int | None:
        """Send SIGTERM and return the exit status; None if the process had to be killed after `limit_s`. Blocks."""
        self.send_signal(signal.SIGTERM)
        if self._ends_within(limit_s):
            return self.exit_status
        self.kill()
        return None

    @property
    def _launched(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the server was never launched")
        return self._process

    def __enter__(self) -> Self:
        try:
            # If a signal came before the assignment to `_process`, nothing would stop the process.
            with self.log.open("wb") as log, uninterrupted():
                # In a new session, the server does not get Ctrl-C. This process gets Ctrl-C and stops the server.
                self._process = subprocess.Popen(
                    [sys.executable, *self.arguments],
                    cwd=ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            self.url = self._await_url()
        except BaseException:
            if self._process is not None:
                self.terminate(self.stop_s)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        signalled = "before SIGTERM" if self._ends_within(0) else "after SIGTERM"
        status = self.terminate(self.stop_s)
        if status != 0 and kind is None:
            late = f"it did not end within {self.stop_s:g} s after SIGTERM"
            fault = late if status is None else f"exit status {status} {signalled}"
            raise DidNotEnd(f"{' '.join(self.arguments)}: {fault}")

    def _await_url(self) -> ServerUrl:
        deadline_s = self.clock_s() + self.start_s
        while self.clock_s() < deadline_s:
            ended = self._ends_within(POLL_EVERY_S)
            text = self.log.read_text(errors="replace")
            if found := self.ready.search(text):
                return ServerUrl.parse(found[1])
            if ended:
                last = "\n".join(text.splitlines()[-LAST_LINES:])
                raise DidNotStart(f"{' '.join(self.arguments)} ended at once:\n{last}")
        raise DidNotStart(f"{' '.join(self.arguments)} did not say where it listens within {self.start_s:g} s")

    def _ends_within(self, limit_s: float) -> bool:
        with suppress(subprocess.TimeoutExpired):
            self._launched.wait(limit_s)
        return self.exit_status is not None
