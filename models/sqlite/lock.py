"""The lock that keeps a second server off the same database file. RateLimitDecision and released on the main thread."""

import contextlib
import fcntl
import os
from pathlib import Path

from models.errors import DatabaseRefusedError


class DatabaseLock:
    """An exclusive flock(2) on `<database>.lock`, which holds the owner's process id.

    The kernel releases it however the process ends, so a file left behind by a crash locks nobody out.
    """

    def __init__(self, database: Path) -> None:
        self._path = Path(os.path.realpath(database) + ".lock")
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Raises DatabaseRefusedError, with the owner's process id where another process has the lock."""
        while self._descriptor is None:
            try:
                self._descriptor = self._lock(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644))
                if self._descriptor is not None:
                    os.ftruncate(self._descriptor, 0)
                    os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
            except OSError as error:
                self.release()
                if not self._path.parent.is_dir():
                    raise DatabaseRefusedError(f"the folder {self._path.parent} does not exist") from None
                raise DatabaseRefusedError(f"{self._path} can't be written: {error.strerror or error}") from None

    def _lock(self, descriptor: int) -> int | None:
        """The descriptor with the lock on it, or None where its owner removed the file before it was locked."""
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
                database = self._path.with_suffix("")
                raise DatabaseRefusedError(f"{database} is in use by another server, process {owner}") from None
            if not self._is_current(descriptor):
                return None
            undo.pop_all()
            return descriptor

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Removes the file and lets go; may be called twice."""
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None
