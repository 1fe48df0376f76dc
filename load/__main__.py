"""`python -m load`: the load generator's command, on the main thread.

What is imported here is there anyway: until the command has been read, Ctrl-C ends the process at once and quietly.
"""

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
STDERR = 2


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


def run() -> int:
    """Run the command and give its exit status."""
    try:
        # Imported late, since that takes a while.
        from load.command import main

        status = main(sys.argv[1:])
        leave_when_interrupted(status)
    except KeyboardInterrupt:
        status = INTERRUPTED
        leave_when_interrupted(status)
    return status


def leave(status: int) -> NoReturn:
    """End the process at once: while Python takes itself apart, Ctrl-C would kill it with another status."""
    # None where it was closed when the process was started.
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with suppress(OSError):
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    leave_when_interrupted(INTERRUPTED)
    fill_standard_streams()
    leave(run())
