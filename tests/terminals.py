"""Runs the shell blocks of a page as a user who types them into several terminals."""

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.process import DEADLINE_S, HANGS_AFTER_S, ROOT, free_port
from tests.readme import Example, assert_shown, missing_lines, read_to

PIP_OFFLINE = {"PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
FILE_NAME = re.compile(r"# (\w+\.py)\n")
PORT = re.compile(r"(?<=--port )\d+|(?<=127\.0\.0\.1:)\d+|(?<=listen\()\d+")


class Terminals:
    """Runs blocks in a folder. Exported variables stay set, and servers and event streams keep running."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self._ports: dict[str, str] = {}
        self._running: list[subprocess.Popen[str]] = []
        self._streams: list[tuple[str, IO[str]]] = []

    def type(self, block: Example) -> None:
        """Saves a file, or runs a shell block, which must succeed and print what the page shows."""
        text, answer = self._with_free_ports(block.text), self._with_free_ports(block.answer)
        last = text.splitlines()[-1]
        if block.language == "python":
            [name] = FILE_NAME.findall(text)
            (self._folder / name).write_text(text)
        elif last.startswith("curl -N "):
            output = self._start(text, until="id: ")
            self._streams.append((answer, output))
        elif "server.py --port" in last and not answer:
            self._start(text, until="listening on ")
        else:
            self._run(text, answer)

    def close(self) -> None:
        for process in self._running:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    def _with_free_ports(self, text: str) -> str:
        """Replaces each port in the text by a free port. A port gets the same free port in every text."""
        return PORT.sub(lambda found: self._free_port_for(found[0]), text)

    def _free_port_for(self, named: str) -> str:
        if named not in self._ports:
            listener, port = free_port()
            listener.close()
            self._ports[named] = str(port)
        return self._ports[named]

    def _start(self, text: str, *, until: str) -> IO[str]:
        """Starts a program that keeps running. Reads its output up to the first line that contains `until`."""
        process = subprocess.Popen(
            ["bash", "-c", text],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._running.append(process)
        assert process.stdout is not None
        read_in_time(process, process.stdout, until)
        return process.stdout

    def _run(self, text: str, answer: str) -> None:
        # A GET can come before the order is processed. A reader of the page would repeat it.
        may_repeat = text.startswith("curl ") and not re.search(r" -[dTX] ", text)
        deadline_s = time.monotonic() + DEADLINE_S
        printed = self._output_of(text, status=1 if "server.py --port" in text else 0)
        while may_repeat and missing_lines(answer, printed) and time.monotonic() < deadline_s:
            printed = self._output_of(text)
        assert_shown(answer, printed)
        while self._streams:
            shown, stream = self._streams.pop()
            assert_shown(shown, read_in_time(self._running[-1], stream, '"Completed"'))

    def _output_of(self, text: str, *, status: int = 0) -> str:
        variables = self._folder / "variables"
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", f"{text}\n[ $? = 0 ]\nenv -0 > {variables}"],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=HANGS_AFTER_S,
            check=False,
        )
        assert done.returncode == status, (text, done.stdout, done.stderr)
        if status:
            return done.stderr
        self._environment = dict(each.split("=", 1) for each in variables.read_text().split("\0") if each)
        return done.stdout


def read_in_time(process: subprocess.Popen[str], output: IO[str], text: str) -> str:
    """Reads the output up to a line with this text. Kills the process if that takes too long."""
    alarm = threading.Timer(HANGS_AFTER_S, process.kill)
    alarm.start()
    try:
        return read_to(output, text)
    finally:
        alarm.cancel()


@contextmanager
def terminals_in_a_copy(folder: Path) -> Iterator[Terminals]:
    """Terminals in a copy of the program. No network is needed: the packages that `pip` would install are present."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "__pycache__", "*.db*"))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, **PIP_OFFLINE, "PATH": path, "PYTHONPATH": sysconfig.get_path("purelib")}
    terminals = Terminals(folder, environment)
    try:
        yield terminals
    finally:
        terminals.close()
