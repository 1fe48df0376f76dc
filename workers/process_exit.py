"""The end of the process, whatever threads are left in it. Runs on daemon threads of its own."""

import contextlib
import logging
import os
import sys
import threading
import time


def leave_within(limit_s: float, status: int) -> None:
    """Sees to it that the process ends with this status, whatever threads a user's function has left behind.

    Python itself waits for them; what has been printed and logged until now is not lost if they take longer.
    """

    def end() -> None:
        time.sleep(limit_s)
        os._exit(status)

    # A thread each: a pipe that nobody reads blocks the one that flushes.
    for work in (_flush, end):
        threading.Thread(target=work, daemon=True).start()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        # None where it was closed at the start; a user's module may have put anything there.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    logging.shutdown()
