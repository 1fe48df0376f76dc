"""Starts and ends every command: sets up standard streams and signals, and exits. Runs on the main thread.

Imports only modules that load quickly. While the command itself is imported, Ctrl-C ends the process without output.
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
"""Signals with the effect of Ctrl-C: the command stops the processes that it started, prints its results and ends."""


def run_program(module: str) -> NoReturn:
    """Import the module, call its `main` with the command's arguments, and end the process with the returned status.

    If `main` does not return, the status is 1 if a package is not installed, 130 after Ctrl-C, 128 plus the signal's
    number after another signal, and 141 if the reader of the output has closed the pipe.
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
        # The reader of the output has closed the pipe, like `head`. Nothing more can be printed.
        status = ExitStatus.BROKEN_PIPE
    if received and status == ExitStatus.INTERRUPTED:
        status = 128 + received[0]
    leave_when_interrupted(status)
    leave(status)


def leave_when_interrupted(status: int) -> None:
    """Make Ctrl-C end the process at once with this status, unless SIGINT is ignored, as in a background process."""

    def end(number: int, frame: FrameType | None) -> None:
        os._exit(status)

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, end)


def fill_standard_streams() -> None:
    """Open /dev/null in place of closed standard streams, so that no socket gets the number of a standard stream."""
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
        if not callable(interrupt):  # even in the background, where SIGINT is ignored, these signals end the command
            raise KeyboardInterrupt
        interrupt(signal.SIGINT, frame)

    for number in END_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # SIGHUP is ignored under nohup
            signal.signal(number, end)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay signals until the block ends. Does nothing on other threads, because only the main thread gets signals."""
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
    """End the process without Python's shutdown. During the shutdown, Ctrl-C would change the exit status."""
    # A stream is None if it was closed when the process started.
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with suppress(OSError):
            stream.flush()
    os._exit(status)
