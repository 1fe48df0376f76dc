"""Owns how long a sync takes beside the server's; on the event loop's thread, each sync on another one."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from load.soak.amid import run_whole

SYNC_EVERY_NS = 50_000_000
BLOCK = bytes(4096)


class DiskFailed(Exception):
    """Nothing could be written or synced beside the database; the text names the file and says why."""


async def keep_syncing(file: Path, *, note: Callable[[int], None], clock_ns: Callable[[], int]) -> None:
    """Write and sync one block 20 times a second, and note how many nanoseconds that takes; DiskFailed.

    Those that were due while one went on are not made, but noted as long as they would have waited for its end, so that
    a stall counts for as long as it was. Goes on until it is cancelled.
    """
    try:
        with file.open("wb", buffering=0) as own:
            while True:
                took_ns = await run_whole(asyncio.to_thread(_sync, own.fileno(), clock_ns))
                note(took_ns)
                for waited_ns in range(took_ns - SYNC_EVERY_NS, 0, -SYNC_EVERY_NS):
                    note(waited_ns)
                await asyncio.sleep((SYNC_EVERY_NS - took_ns % SYNC_EVERY_NS) / 1e9)
    except OSError as problem:
        raise DiskFailed(f"{file} can't be synced: {(problem.strerror or 'unknown error').lower()}") from None


def _sync(descriptor: int, clock_ns: Callable[[], int]) -> int:
    begun_ns = clock_ns()
    os.pwrite(descriptor, BLOCK, 0)
    os.fdatasync(descriptor)
    return clock_ns() - begun_ns
