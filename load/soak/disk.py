"""Owns how long the disk itself takes while a soak goes on; on the event loop's thread, each sync on another one."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SYNC_EVERY_S = 0.05
BLOCK = bytes(4096)


class DiskFailed(Exception):
    """Nothing could be written or synced beside the database; the text names the file and says why."""


async def keep_syncing(file: Path, *, note: Callable[[int], None], clock_ns: Callable[[], int]) -> None:
    """Write and sync one block 20 times a second, and note the nanoseconds from when each was due until it was on disk.

    Goes on until it is cancelled; DiskFailed.
    """
    loop = asyncio.get_running_loop()
    try:
        # At the end the sync that is under way comes first, then the file is closed.
        with file.open("wb", buffering=0) as own, ThreadPoolExecutor(1) as syncing:
            due_ns = clock_ns()
            while True:
                due_ns += int(SYNC_EVERY_S * 1e9)
                await asyncio.sleep(max(0.0, (due_ns - clock_ns()) / 1e9))
                await loop.run_in_executor(syncing, _sync, own.fileno())
                note(clock_ns() - due_ns)
    except OSError as problem:
        raise DiskFailed(f"{file}: {problem.strerror or problem}") from None


def _sync(descriptor: int) -> None:
    os.pwrite(descriptor, BLOCK, 0)
    os.fdatasync(descriptor)
