"""Runs a server with a wall clock and a standard error that another process controls.

    python -m load.chaos.servers.controlled FILE PROGRAM [ARGUMENTS]

Steps of the clock change what `time.time` and `time.time_ns` return. libfaketime 0.9.10 can't be used instead: it makes
`time.sleep` raise OSError, and makes threads wait much longer for the GIL.
"""

import mmap
import os
import runpy
import select
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from fcntl import F_SETPIPE_SZ, fcntl
from pathlib import Path
from typing import TypeVar

PIPE_BYTES = 8192  # The size of the pipe between the server and the reader of its standard error.
NANOSECONDS = 1_000_000_000
AHEAD, READER = range(2)
Number = TypeVar("Number", int, float)


class Controls:
    """Numbers in a file, by which a process controls a server. The controlling process creates the file.

    Every value of `ahead_s` is added to `steps_s`, which several objects can share.
    """

    def __init__(self, path: Path, steps_s: set[int] | None = None) -> None:
        self.path = path
        self.steps_s = {0} if steps_s is None else steps_s
        with path.open("r+b" if path.exists() else "w+b") as file:
            file.truncate(mmap.PAGESIZE)
            self._values = memoryview(mmap.mmap(file.fileno(), mmap.PAGESIZE)).cast("q")

    @property
    def ahead_s(self) -> int:
        """How many seconds the server's wall clock is ahead of the system's; negative if it is behind."""
        return self._values[AHEAD]

    def step_clock(self, by_s: int) -> None:
        self._values[AHEAD] += by_s
        self.steps_s.add(self.ahead_s)

    def note_reader(self, pid: int) -> None:
        self._values[READER] = pid

    @property
    def reader(self) -> int:
        """The id of the process that copies the server's standard error to its log; 0 before the first start."""
        return self._values[READER]

    def fake(self, read: Callable[[], Number], unit: int) -> Callable[[], Number]:
        """Return a function that returns the time of `read` plus `ahead_s`. A second is `unit` units of this time."""
        values = self._values
        return lambda: read() + values[AHEAD] * unit


def is_full(pid: int) -> bool:
    """Return whether the standard input of a process is a full pipe."""
    with suppress(OSError):
        descriptor = os.open(f"/proc/{pid}/fd/0", os.O_WRONLY | os.O_NONBLOCK)
        try:
            _, writable, _ = select.select([], [descriptor], [], 0)
        finally:
            os.close(descriptor)
        return not writable
    return False


def _pipe_stderr() -> int:
    """Replace standard error by a pipe. Return the id of a new process that copies the pipe to the replaced file."""
    reading, writing = os.pipe()
    fcntl(writing, F_SETPIPE_SZ, PIPE_BYTES)
    actions = [(os.POSIX_SPAWN_DUP2, reading, 0), (os.POSIX_SPAWN_DUP2, 2, 1)]
    pid = os.posix_spawnp("cat", ["cat"], os.environ, file_actions=actions)
    os.dup2(writing, 2)
    os.close(reading)
    os.close(writing)
    return pid


def main() -> None:
    controls = Controls(Path(sys.argv[1]))
    time.time = controls.fake(time.time, 1)
    time.time_ns = controls.fake(time.time_ns, NANOSECONDS)
    controls.note_reader(_pipe_stderr())
    del sys.argv[:2]
    if sys.argv[0] == "-m":
        del sys.argv[0]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
