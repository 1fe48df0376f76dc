"""Owns how the programs in `load/` begin and end: standard streams, signals, exit statuses; on the main thread.

What is imported here is there anyway: until the program itself has been read, Ctrl-C ends the process at once and
quietly.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
BROKEN_PIPE = 141
STDERR = 2
ENDING = (signal.SIGTERM, signal.SIGHUP)
"""Signals that end a program as Ctrl-C does: what it has started is stopped, and what it knows is told."""

Run = Callable[[list[str]], int]


def run_program(find: Callable[[], Run]) -> NoReturn:
    """End the process with the status of the program that `find` imports, which takes the command line's arguments."""
    leave_when_interrupted(INTERRUPTED)
    fill_standard_streams()
    came: list[int] = []
    try:
        run = find()
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        end_by_signals(came)
        status = run(sys.argv[1:])
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BrokenPipeError:
        # Who read the output has gone, as `head` does; nothing more can be said.
        status = BROKEN_PIPE
    if came and status == INTERRUPTED:
        # As a shell names it.
        status = 128 + came[0]
    leave_when_interrupted(status)
    leave(status)


def leave_when_interrupted(status: int) -> None:
    """Have Ctrl-C end the process with that status from now on; ignored, as in the background, it stays so."""

    def end(number: int, frame: FrameType | None) -> None:
        os._exit(status)

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, end)


def fill_standard_streams() -> None:
    """Open what is closed of them to nothing: the event loop or a socket would get its number."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        pass
    os.close(descriptor)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115


def end_by_signals(came: list[int]) -> None:
    """Have the ENDING signals do what Ctrl-C does just then; those that came are added to the list."""

    def end(number: int, frame: FrameType | None) -> None:
        came.append(number)
        interrupt = signal.getsignal(signal.SIGINT)
        if not callable(interrupt):  # ignored, as in the background: that is for Ctrl-C alone
            raise KeyboardInterrupt
        interrupt(signal.SIGINT, frame)

    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, end)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Keep signals for the end of the block, such as one that starts a process and must come to know of it.

    In other threads than the main one nothing is interrupted anyway.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: came.append(number))
        for number in (signal.SIGINT, *ENDING)
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for each in came:
            signal.raise_signal(each)


def leave(status: int) -> NoReturn:
    """End the process at once: while Python takes itself apart, Ctrl-C would kill it with another status."""
    # None where it was closed when the process was started.
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with suppress(OSError):
            stream.flush()
    os._exit(status)
