"""Writes log lines to stderr on a separate thread, so that no other thread waits until somebody reads stderr."""

import contextlib
import os
import select
import threading
from collections.abc import Callable
from traceback import format_exception

from handlers.logs.log_format import LINES

MAX_WAITING_CHARACTERS = 4 * 1024 * 1024
"""Lines are dropped while more characters than this wait to be written."""
PAUSE_S = 0.01
"""Lines that arrive this soon after a write are written together, because each write costs two thread switches."""
CLOSE_TIMEOUT_S = 0.4
"""How long `close` waits for the lines to be written."""
_LINE_FEED = ord("\n")


class LogWriter:
    """Takes lines on any thread without blocking, and writes them in the order in which it took them.

    While `descriptor` takes no lines, lines wait, up to `MAX_WAITING_CHARACTERS`; further lines are dropped. If a write
    fails, its lines are dropped. `dropped_lines` counts the dropped lines. As soon as `descriptor` takes lines again, a
    line in `log_format` reports how many were dropped. `clock` returns seconds since 1970, UTC.

    Before `start`, after `close` and in a forked process, `write` itself writes the line, and can block.
    """

    def __init__(self, descriptor: int, *, log_format: str, clock: Callable[[], float]) -> None:
        self.dropped_lines = 0
        self._descriptor = descriptor
        self._format = LINES[log_format]
        self._clock = clock
        self._thread: threading.Thread | None = None
        # The lock must be reentrant, because garbage collection inside `write` can log something.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._waiting: list[str] = []
        self._waiting_characters = 0
        self._dropped_after_waiting = 0
        self._closing = threading.Event()
        # Used by the writing thread only.
        self._unreported_lines = 0
        self._is_line_cut_off = False

    def start(self) -> None:
        """Starts the thread."""
        os.register_at_fork(after_in_child=self._forget_thread)
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Writes the line, or several lines, soon, or drops it. `line` has no line feed at its end."""
        with self._lock:  # takes half of the time of `with self._changed`
            if self._thread:
                self._add(line)
                return
        self._put([line])

    def close(self) -> None:
        """Waits until the lines are written, at most `CLOSE_TIMEOUT_S` seconds. Can be called twice."""
        with self._changed:
            thread = self._thread
            self._closing.set()
            self._changed.notify()
        if thread:
            thread.join(CLOSE_TIMEOUT_S)

    def _add(self, line: str) -> None:
        # After a dropped line, all further lines are dropped until the thread takes the waiting lines. So the report
        # about dropped lines stands where these lines are missing.
        if self._dropped_after_waiting or self._waiting_characters > MAX_WAITING_CHARACTERS:
            count = line.count("\n") + 1
            self._dropped_after_waiting += count
            self.dropped_lines += count
            return
        self._waiting.append(line)
        self._waiting_characters += len(line)
        if len(self._waiting) == 1:
            self._changed.notify()

    def _forget_thread(self) -> None:
        """Called in a forked process, which has no copy of the thread. The parent process writes the waiting lines."""
        self._thread = None
        # At the fork, another thread can hold the lock of the old objects. In the child, nothing releases this lock.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._closing = threading.Event()

    # On the writing thread

    def _run(self) -> None:
        while taken := self._take():
            try:
                self._put_and_count(*taken)
            except Exception as error:  # noqa: BLE001 - outermost exception handler of the thread
                with contextlib.suppress(Exception):
                    self._put(["The log failed, and log lines can be missing.", *format_exception(error)])
            self._closing.wait(PAUSE_S)

    def _put_and_count(self, lines: list[str], dropped: int) -> None:
        self._report_dropped_lines()
        lost = self._put(lines)
        self._unreported_lines += lost + dropped
        if lost:
            with self._changed:
                self.dropped_lines += lost
        else:
            self._report_dropped_lines()

    def _take(self) -> tuple[list[str], int] | None:
        """Waits for lines. Returns the lines, and how many were dropped after these lines.

        Returns None after `close` if no line waits.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing.is_set())
            if not self._waiting:
                self._thread = None
                return None
            taken = self._waiting, self._dropped_after_waiting
            self._waiting, self._waiting_characters, self._dropped_after_waiting = [], 0, 0
            return taken

    def _report_dropped_lines(self) -> None:
        if self._unreported_lines:
            text = f"{self._unreported_lines} log lines were dropped because stderr did not take them"
            if not self._put([self._format(self._clock(), "WARNING", text, {})]):
                self._unreported_lines = 0

    def _put(self, lines: list[str]) -> int:
        """Writes the lines, and returns how many could not be written."""
        data = rest = memoryview("\n".join([*lines, ""]).encode(errors="backslashreplace"))
        try:
            if self._is_line_cut_off:
                self._write(memoryview(b"\n"))
                self._is_line_cut_off = False
            while rest:
                rest = rest[self._write(rest) :]
        except OSError:  # the disk is full, or the pipe has no reader any more
            if written := len(data) - len(rest):
                self._is_line_cut_off = data[written - 1] != _LINE_FEED
        return bytes(rest).count(b"\n")

    def _write(self, data: memoryview) -> int:
        while True:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:  # another process has made the pipe or terminal non-blocking
                poll = select.poll()
                poll.register(self._descriptor, select.POLLOUT)
                poll.poll()
