"""Kills processes together with their children. Needs Linux. The function blocks the thread for a moment."""

import os
import select
import signal
import time
from contextlib import suppress
from pathlib import Path

POLL_EVERY_S = 0.001
STANDS_STILL = frozenset("TZX")  # The letters of processes that are stopped or have ended.


def kill_family(pid: int) -> None:
    """Kill a process and all its descendants, and wait for their end. Does nothing if the process has ended.

    First each process is stopped, so that none can start another one, and none notices that another one has ended.
    """
    family = [pid]
    with suppress(ProcessLookupError, FileNotFoundError):
        for each in family:
            os.kill(each, signal.SIGSTOP)
            while Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[0] not in STANDS_STILL:
                time.sleep(POLL_EVERY_S)
            family += map(int, Path(f"/proc/{each}/task/{each}/children").read_text().split())
        descriptors = [os.pidfd_open(each) for each in family]
        for descriptor in descriptors:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        for descriptor in descriptors:
            select.select([descriptor], [], [])
            os.close(descriptor)
