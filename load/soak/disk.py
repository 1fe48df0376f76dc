"""How long the disk takes for syncs that are not the server's. Runs on a thread of its own."""

import os
from collections.abc import Callable
from pathlib import Path
from threading import Event

from load.cli.errors import CommandError, reason_of_os_error

SYNC_EVERY_NS = 50_000_000
BLOCK = bytes(4096)


class DiskFailed(CommandError):
    """A file beside the database can't be written or synced."""


def measure_syncs(file: Path, *, note: Callable[[int], object], ended: Event, clock_ns: Callable[[], int]) -> None:
    """Write and sync a block 20 times a second, and note the nanoseconds it takes, until `ended` is set; DiskFailed.

    Syncs that are due while another one runs are not made. They are noted with the time that they would have waited,
    so that a stall counts for as long as it lasts.
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
        raise DiskFailed(f"{file} can't be synced: {reason_of_os_error(problem)}") from None
