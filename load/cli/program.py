"""The start and the end of every command: standard streams, signals, exit status; runs on the main thread.

Imports nothing that takes time: until the command itself is imported, Ctrl-C ends the process at once and quietly.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from types import FrameType
from typing import NoReturn

from load.cli.errors import ExitStatus

STDERR = 2
END_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""Signals that end a command as Ctrl-C does: what it has started is stopped, and what it knows is printed."""


def run_program(module: str) -> NoReturn:
    """Import the module, call its `main` with the arguments of the command line, and end the process with its status.

    1 if a package is not installed, 130 after Ctrl-C, 128 plus the number of another signal that ended it, 141 if the
    reader of a pipe is gone.
    """
    leave_when_interrupted(ExitStatus.INTERRUPTED)
    fill_standard_streams()
    received: list[int] = []
    try:
        main = import_module(module).main
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        handle_end_signals(received)
        status: int = main(sys.argv[1:])
    except KeyboardInterrupt:
        status = ExitStatus.INTERRUPTED
    except ModuleNotFoundError as missing:
        problem = f'the package "{missing.name}" is not installed: run pip install -r requirements.txt'
        print(f"python -m {module.removesuffix('.command')}: {problem}", file=sys.stderr)
        status = ExitStatus.FAILED
    except BrokenPipeError:
        # The reader of the output has gone, as `head` does; nothing more can be printed.
        status = ExitStatus.BROKEN_PIPE
    if received and status == ExitStatus.INTERRUPTED:
        status = 128 + received[0]
    leave_when_interrupted(status)
    leave(status)


def leave_when_interrupted(status: int) -> None:
    """Let Ctrl-C end the process at once with that status, unless it is ignored, as in a background process."""

    def end(number: int, frame: FrameType | None) -> None:
        os._exit(status)

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, end)


def fill_standard_streams() -> None:
    """Open standard streams that are closed to /dev/null: else a socket would get their file descriptors."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        pass
    os.close(descriptor)
    if sys.stderr is None:
        # Stays open until the process ends.
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115


def handle_end_signals(received: list[int]) -> None:
    """Handle END_SIGNALS like Ctrl-C, and add each one to `received`."""

    def end(number: int, frame: FrameType | None) -> None:
        received.append(number)
        interrupt = signal.getsignal(signal.SIGINT)
        if not callable(interrupt):  # ignored, as in the background: that is for Ctrl-C alone
            raise KeyboardInterrupt
        interrupt(signal.SIGINT, frame)

    for number in END_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, end)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay signals until the end of the block. Has no effect on other threads: only the main thread gets signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: received.append(number))
        for number in (signal.SIGINT, *END_SIGNALS)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for each in received:
            signal.raise_signal(each)


def leave(status: int) -> NoReturn:
    """End the process at once: while Python shuts down, Ctrl-C would kill it with another status."""
    # None where it was closed when the process was started.
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with suppress(OSError):
            stream.flush()
    os._exit(status)
