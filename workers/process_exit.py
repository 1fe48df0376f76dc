"""The process as a whole: its standard streams and its end. Runs on the main thread, and on daemon threads."""

import contextlib
import logging
import os
import sys
import threading
import time

STDERR = 2
EXIT_DELAY_S = 0.5
"""How long the process may still take to end after everything is closed."""


def fill_standard_streams() -> None:
    """Opens /dev/null for each standard stream that is closed.

    Otherwise the next file or socket that is opened, such as the database, would get its number and receive the output.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        pass
    os.close(descriptor)


def exit_within(limit_s: float, status: int) -> None:
    """Ends the process with this status after `limit_s` seconds, even if threads are still running.

    Without this, Python would wait for all threads, including those that a user's function started. Flushes the
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
        # None if it was closed at the start; a user's module may have replaced it by anything.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    logging.shutdown()
