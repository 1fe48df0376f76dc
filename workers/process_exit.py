"""The standard streams and the exit of the process. Runs on the main thread, and on daemon threads."""

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence

STDERR = 2
EXIT_DELAY_S = 0.5
"""How many seconds the process can take to exit after it has closed the store and its sockets."""


def fill_standard_streams() -> None:
    """Opens /dev/null for each standard stream that is closed.

    Without this call, the next opened file, such as the database, would get the number of the stream and receive its
    output.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        pass
    os.close(descriptor)


def run_until_interrupted(command: Callable[[], int], numbers: Sequence[signal.Signals], *, advice: str) -> int:
    """Runs `command`. If one of these signals arrives, ends it with a KeyboardInterrupt, and prints the advice.

    Returns the exit status: what `command` returns, or after a signal 128 plus the number of the signal. If the reader
    of stdout has closed the pipe, this has the same effect as the signal SIGPIPE.
    """
    received: list[int] = []

    def interrupt(number: int, _: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    for number in numbers:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)
    try:
        return command()
    except KeyboardInterrupt:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        print(f"interrupted: {advice}", file=sys.stderr)  # noqa: T201
        return 128 + received[0]
    except BrokenPipeError:
        _discard_output(sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def exit_within(limit_s: float, status: int) -> None:
    """Ends the process with this status after `limit_s` seconds, even if threads are still running.

    Without this call, Python would wait for all threads, including threads that a user's function started. Flushes the
    standard streams and the log first, so that no output is lost. If the flush takes longer than `EXIT_DELAY_S`
    seconds, for example because stdout is a pipe that nobody reads, ends the process at once.
    """

    def end() -> None:
        time.sleep(limit_s)
        os._exit(status)

    flushes = [threading.Thread(target=each, daemon=True) for each in (_flush_streams, logging.shutdown)]
    for each in (*flushes, threading.Thread(target=end, daemon=True)):
        each.start()
    deadline_s = time.monotonic() + EXIT_DELAY_S
    for each in flushes:
        each.join(max(0.0, deadline_s - time.monotonic()))
    if any(each.is_alive() for each in flushes):
        # A normal exit of Python would flush the streams once more, and wait for ever.
        os._exit(status)


def _flush_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        # A stream is None if it was closed at the start. A user's module can have replaced it with any object.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            try:
                stream.flush()
            except OSError:
                # A normal exit of Python would flush once more, fail, and have the status 120.
                _discard_output(stream.fileno())


def _discard_output(descriptor: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)
