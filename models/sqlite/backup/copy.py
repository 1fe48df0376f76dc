"""Copies a database to a new file, and checks the copy. Runs on the main thread.

The copy is made by SQLite's backup API (https://www.sqlite.org/backup.html) in small steps. Usually, such a backup
begins again when another process has changed the database, so it would not end while a server is busy. Here, one read
transaction lasts from the first step to the last one, so SQLite copies one snapshot while the server writes.

Meanwhile, the WAL can't begin anew, so it grows by all commits. Without pauses, the copy would hold the snapshot for a
shorter time, but delay the commits of the server more. `VACUUM INTO` also copies a snapshot, but it can't pause, and
needs more than twice the CPU time (4.3 s instead of 1.9 s for 10,000,000 orders), because it copies row by row.
"""

import ctypes
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from models.progress import Progress
from models.sqlite.check.integrity import integrity_errors
from models.sqlite.files.reading import INSTRUCTIONS, interruptible

STEP_PAGES = 16
"""How many pages (of 4 KiB) one step copies."""
FLUSH_BYTES = 1 << 18
"""After how many new bytes the kernel is told to begin to write them to disk. Otherwise, it would write long bursts,
which delay the commits of the server. A sync would delay them, too."""
PAUSE_FACTOR = 3.0
"""How long a paced copy or check pauses after each step, as a multiple of the duration of the step. With longer pauses,
the copy itself would delay commits less. But until its end, each commit makes the WAL longer, so its sync takes longer
than if it overwrote an older part of the WAL."""
PACED_INSTRUCTIONS = 3_000
"""How many instructions of SQLite's virtual machine a paced check runs before a pause: about 0.1 ms. If the server
needs the CPU, it gets it in the next pause. Without pauses, Linux would let the check run for milliseconds first."""
_LIBC = ctypes.CDLL(None)
_SYNC_FILE_RANGE_WRITE = ctypes.c_uint(2)
_COUNT = "SELECT pending + processing + completed + failed + cancelled FROM totals"
_NEWEST = "SELECT created_us FROM orders ORDER BY sequence DESC LIMIT 1"


def copy_database(
    source: sqlite3.Connection,
    target: Path,
    *,
    journal_mode: str,
    is_paced: bool,
    progress: Progress,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Copies the snapshot of `source`, which must have an open read transaction, to the file `target`, and syncs it.

    Overwrites the file. Nobody else may use it. `is_paced` makes pauses between the steps. Raises sqlite3.DatabaseError
    and OSError.
    """
    descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with closing(sqlite3.connect(target, isolation_level=None)) as copy:
            # The copy needs no journal, because a copy that is not finished is removed.
            copy.execute("PRAGMA journal_mode = off")
            copy.execute("PRAGMA synchronous = off")
            [page_bytes] = source.execute("PRAGMA page_size").fetchone()
            began_s, flushed_bytes = clock(), 0

            def after_step(_: int, pages_left: int, pages: int) -> None:
                nonlocal began_s, flushed_bytes
                written_bytes = os.fstat(descriptor).st_size
                if written_bytes - flushed_bytes >= FLUSH_BYTES:
                    begin_writing(descriptor, flushed_bytes, written_bytes - flushed_bytes)
                    flushed_bytes = written_bytes
                progress("Copying", (pages - pages_left) * page_bytes, pages * page_bytes)
                if is_paced:
                    sleep((clock() - began_s) * PAUSE_FACTOR)
                    began_s = clock()

            source.backup(copy, pages=STEP_PAGES, progress=after_step)
        with closing(sqlite3.connect(target, isolation_level=None)) as copy:
            copy.execute(f"PRAGMA journal_mode = {journal_mode}")
        os.fsync(descriptor)
    finally:
        # Closing a descriptor releases SQLite's locks on the file.
        os.close(descriptor)


def check_copy(
    path: Path,
    *,
    is_paced: bool,
    progress: Progress,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> str | None:
    """The first error that SQLite's integrity check finds in the copy; None if there is none.

    `is_paced` makes pauses. Raises sqlite3.DatabaseError if the check can't be made.
    """
    progress("Checking")
    began_s = clock()

    def after_step() -> None:
        nonlocal began_s
        progress("Checking")
        if is_paced:
            sleep((clock() - began_s) * PAUSE_FACTOR)
            began_s = clock()

    with (
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as connection,
        interruptible(connection, after_step, instructions=PACED_INSTRUCTIONS if is_paced else INSTRUCTIONS),
    ):
        return next(integrity_errors(connection, limit=1), None)


def begin_writing(descriptor: int, offset: int, length: int) -> None:
    """Makes the kernel begin to write these bytes of a file to disk, if it can, and does not wait for that.

    The bytes stay in the page cache, unlike after `posix_fadvise`, so the check need not read them from the disk.
    """
    # https://man7.org/linux/man-pages/man2/sync_file_range.2.html
    _LIBC.sync_file_range(descriptor, ctypes.c_int64(offset), ctypes.c_int64(length), _SYNC_FILE_RANGE_WRITE)


def describe(path: Path) -> str:
    """The number of orders, and when the newest one was accepted. The file must not be in use. Raises sqlite3.Error."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as connection:
        [orders] = connection.execute(_COUNT).fetchone()
        newest = connection.execute(_NEWEST).fetchone()
    if newest is None:
        return "no orders"
    accepted = datetime.fromtimestamp(newest[0] / 1_000_000, UTC)
    return f"{orders:,} orders, the newest accepted at {accepted:%Y-%m-%d %H:%M:%S} UTC"
