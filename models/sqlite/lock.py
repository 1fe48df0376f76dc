"""The lock file that prevents a second server from opening the database. Used on the main thread."""

import contextlib
import fcntl
import os
from pathlib import Path

from models.errors import DatabaseRefusedError


class DatabaseLock:
    """An exclusive, advisory flock(2) on `<database>.lock`. The file contains the id of the process that has the lock.

    The kernel releases the lock when the process ends for any reason, so a file that a crash left behind is not locked.
    """

    def __init__(self, database: Path) -> None:
        self._path = Path(os.path.realpath(database) + ".lock")
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Takes the lock. Does nothing if this object already has it.

        Raises DatabaseRefusedError if another process has the lock, or if the file can't be written.
        """
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
        """The locked descriptor; None if the previous owner removed the file after it was opened here."""
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
        """Whether the descriptor still refers to the file at the path."""
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def close_in_child(self) -> None:
        """Closes the descriptor in a forked child, and keeps the file.

        A flock belongs to the open file, which the child shares. It would outlive the process that has the lock.
        """
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def release(self) -> None:
        """Removes the file and releases the lock. A second call does nothing."""
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None
