"""Measures how long the disk takes to sync. Blocks, and runs on its own thread."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

from load.cli.errors import CommandError, reason_of_os_error

SYNC_EVERY_NS = 50_000_000
BLOCK = bytes(4096)


def measure_syncs(
    file: Path, *, note: Callable[[int], object], ended: Event, clock_ns: Callable[[], int] = time.perf_counter_ns
) -> None:
    """Write and sync a block 20 times a second until `ended` is set. Call `note` with each duration in nanoseconds.

    A sync that is due during a longer sync is left out. `note` is then called with the time from the due time of this
    sync to the end of the longer sync, so a long stall counts many times. Raises CommandError if a sync fails.
    """
    took_ns = 0
    try:
        with file.open("wb", buffering=0) as own:
            while not ended.wait((SYNC_EVERY_NS - took_ns % SYNC_EVERY_NS) / 1e9):
                begun_ns = clock_ns()
                os.pwrite(own.fileno(), BLOCK, 0)
                os.fdatasync(own.fileno())
                took_ns = clock_ns() - begun_ns
                for waited_ns in range(took_ns, 0, -SYNC_EVERY_NS):
                    note(waited_ns)
    except OSError as problem:
        raise CommandError(f"{file} can't be synced: {reason_of_os_error(problem)}") from None
