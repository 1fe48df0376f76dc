"""Owns a server that is started for a measurement, as a process of its own."""

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from load.address import ServerUrl

ROOT = Path(__file__).resolve().parent.parent
LISTENING = re.compile(r"listening on (http://127\.0\.0\.1:\d+)")
LAST_LINES = 5


class DidNotStart(Exception):
    """The server ended, or said nothing in time; the text has its last lines."""


class ServerProcess:
    """A context manager: inside it the server listens at `url`; at the end it gets SIGTERM, and SIGKILL if need be.

    `arguments` follow the interpreter's name; the working folder is the project's. What it writes goes to `log`.
    """

    def __init__(self, arguments: Sequence[str], *, log: Path, start_s: float = 15.0, stop_s: float = 30.0) -> None:
        self.url = ServerUrl("", 0, "", "")
        self._arguments = arguments
        self._log = log
        self._start_s = start_s
        self._stop_s = stop_s

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            # A session of its own, so that Ctrl-C ends the measurement first and the server in order.
            self._process = subprocess.Popen(
                [sys.executable, *self._arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self.url = self._await_url()
        except BaseException:
            self._stop()
            raise
        return self

    @property
    def exit_status(self) -> int | None:
        """What the process ended with, or None while it runs; negative for a signal."""
        return self._process.returncode

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _await_url(self) -> ServerUrl:
        deadline_s = time.monotonic() + self._start_s
        while time.monotonic() < deadline_s:
            ended = self._process.poll() is not None
            text = self._log.read_text(errors="replace")
            found = LISTENING.search(text)
            if found:
                return ServerUrl.parse(found[1])
            if ended:
                last = "\n".join(text.splitlines()[-LAST_LINES:])
                raise DidNotStart(f"{' '.join(self._arguments)} ended at once:\n{last}")
            time.sleep(0.01)
        raise DidNotStart(f"{' '.join(self._arguments)} did not say where it listens within {self._start_s:g} s")

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(self._stop_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
