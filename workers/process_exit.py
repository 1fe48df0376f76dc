"""The standard streams and the exit of the process. Runs on the main thread, and on daemon threads."""

import contextlib
import logging
import os
import sys
import threading
import time

STDERR = 2
EXIT_DELAY_S = 0.5
"""How many seconds the process can take to exit after everything is closed."""


def fill_standard_streams() -> None:
    """Opens /dev/null for each standard stream that is closed.

    Otherwise the next opened file, such as the database, would get the number of the stream and receive its output.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        pass
    os.close(descriptor)


def exit_within(limit_s: float, status: int) -> None:
    """Ends the process with this status after `limit_s` seconds, even if threads are still running.

    Without this call, Python would wait for all threads, including those that a user's function started. Flushes the
    standard streams and the log at once, so that no output is lost.
    """

    def end() -> None:
        time.sleep(limit_s)
        os._exit(status)

    # Two threads, because flushing blocks if the reader of a pipe has stopped reading.
    for work in (_flush, end):
        threading.Thread(target=work, daemon=True).start()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # None if it was closed at the start. A user's module can have replaced it with any object.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    logging.shutdown()
