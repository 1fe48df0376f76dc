"""Replaces the database file so that a crash at any point leaves the old or the new database. Runs on the main thread.

A database has several files: a WAL that stays behind while the database file is replaced damages the new database. No
system call renames several files together. Therefore a restore first writes the whole new database to another file,
and then gives this file the name `<database>.replacement`. From then on, the replacement is decided: if the process is
killed, the next command or server that locks the database finishes the replacement, before it opens the database.
"""

import fcntl
import logging
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from models.errors import BackupError, DatabaseRefusedError
from models.sqlite.files.lock import DatabaseLock

SQLITE_SUFFIXES = ("-wal", "-shm", "-journal")
"""The suffixes of the files that SQLite creates beside a database."""

_SHARED_LOCK = (0x40000002, 510)
"""The first byte and the length of the range on which SQLite has a lock while a file with a WAL is open
(https://www.sqlite.org/src/file/src/os.h)."""
_LOCK = struct.Struct("hhqqi0q")
"""Linux's `struct flock`: type, whence, first byte, length, process id."""

_log = logging.getLogger("orders.replacement")


def lock_database(path: Path) -> DatabaseLock:
    """Locks the database, and finishes a replacement that was interrupted. Returns the lock.

    Raises DatabaseRefusedError if the database is locked, or if a file can't be renamed.
    """
    lock = DatabaseLock(path)
    lock.acquire()
    replacement = Replacement(path)
    try:
        if replacement.is_decided:
            old = replacement.finish()
            _log.warning("%s was replaced by a command that was interrupted; the old files are %s", path, old)
            # The lock was on the old file.
            lock.release()
            lock.acquire()
        replacement.discard()
    except DatabaseRefusedError:
        lock.discard()
        raise
    except OSError as error:
        lock.discard()
        raise DatabaseRefusedError(f"{path} can't be replaced: {error.filename}: {error.strerror}") from error
    return lock


@contextmanager
def replacement_of(path: Path) -> Iterator["Replacement"]:
    """Locks the database until the end of the block, which can replace it. Nothing remains if it does not.

    Raises DatabaseRefusedError if another program uses the database. In the block, an OSError becomes a BackupError.
    """
    lock = lock_database(path)
    replacement = Replacement(path)
    try:
        replacement.check_unused()
        yield replacement
    except OSError as error:
        raise BackupError(f"{path} can't be replaced: {error.filename}: {error.strerror}") from error
    finally:
        replacement.discard()
        lock.discard()


class Replacement:
    """A new file for the database at `path`, which must be locked. The methods raise OSError.

    The caller writes the new database to `incomplete`.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(os.path.realpath(path))
        self.incomplete = Path(f"{self._path}.incomplete")
        self._complete = Path(f"{self._path}.replacement")

    @property
    def is_decided(self) -> bool:
        """Whether `decide` was called, possibly by a process that was killed, and `finish` has not returned."""
        return self._complete.exists()

    def check_unused(self) -> None:
        """Raises DatabaseRefusedError if another program has the database open: it could remove the WAL of the new one.

        Must not be called while this process has the database open with SQLite.
        """
        if sys.platform != "linux" or not self._path.exists():
            return
        with self._path.open("r+b") as file:
            request = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, *_SHARED_LOCK, 0)
            kind, *_, process = _LOCK.unpack(fcntl.fcntl(file, fcntl.F_GETLK, request))
        if kind != fcntl.F_UNLCK:
            raise DatabaseRefusedError(f"{self._path} is in use by another program, process {process}: end it first")

    def decide(self) -> None:
        """Syncs the new database, and decides that it replaces the old one. Gives it the owner and the mode of the
        old file."""
        with suppress(FileNotFoundError):
            old = self._path.stat()
            self.incomplete.chmod(old.st_mode & 0o777)
            if (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                os.chown(self.incomplete, old.st_uid, old.st_gid)
        # The old files get names with this time, also if another process finishes the replacement.
        now_s = int(datetime.now(UTC).timestamp())
        while any(Path(f"{self._name_at(now_s)}{suffix}").exists() for suffix in ("", *SQLITE_SUFFIXES)):
            now_s += 1
        os.utime(self.incomplete, (now_s, now_s))
        sync(self.incomplete)
        self.incomplete.rename(self._complete)
        sync(self._path.parent)

    def finish(self) -> Path:
        """Renames the old files, and puts the new database in their place. Returns the new path of the old database.

        If the process is killed, another one must call this method again. Raises DatabaseRefusedError like
        `check_unused`.
        """
        self.check_unused()
        old = self._name_at(int(self._complete.stat().st_mtime))
        for suffix in (*SQLITE_SUFFIXES, ""):
            file = Path(f"{self._path}{suffix}")
            # A lock creates an empty database file if the file is missing.
            if file.exists() and (suffix or file.stat().st_size):
                file.rename(f"{old}{suffix}")
        # Otherwise, a loss of power could undo only the renames of the old files.
        sync(self._path.parent)
        self._complete.rename(self._path)
        sync(self._path.parent)
        return old

    def discard(self) -> None:
        """Removes the new database, unless it is decided that it replaces the old one."""
        remove_database(self.incomplete)

    def _name_at(self, time_s: int) -> Path:
        return Path(f"{self._path}.old-{datetime.fromtimestamp(time_s, UTC):%Y%m%d-%H%M%S}")


def remove_database(path: Path) -> None:
    """Removes a database that no process uses, if it exists."""
    for suffix in ("", *SQLITE_SUFFIXES):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Syncs a file or a folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
