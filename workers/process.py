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

    Otherwise a socket or the database would get its number, and with it everything that is printed.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
        pass
    os.close(descriptor)


def exit_within(limit_s: float, status: int) -> None:
    """Ends the process with this status after `limit_s` seconds, whatever threads are still running then.

    At its end Python waits for all threads, also for those that a user's function has left behind. Flushes standard
    streams and log at once, so that nothing printed until now is lost.
    """

    def end() -> None:
        time.sleep(limit_s)
        os._exit(status)

    # Two threads, because flushing to a pipe that nobody reads blocks.
    for work in (_flush, end):
        threading.Thread(target=work, daemon=True).start()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # None if it was closed at the start; a user's module may have replaced it by anything.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    logging.shutdown()
