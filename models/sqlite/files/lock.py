"""The locks that prevent a second server from opening the database. Used on the main thread."""

import fcntl
import logging
import os
import sys
from pathlib import Path

from models.errors import DatabaseInUseError, DatabaseRefusedError

_LOCKS_DATABASE = sys.platform == "linux"
"""Whether the database file itself is locked. On BSD and macOS, a flock on this file would conflict with SQLite's
locks."""
_LOCKS = Path("/proc/locks")
_LOCKS_READS = 10

_log = logging.getLogger("orders.lock")


class DatabaseLock:
    """Exclusive and advisory locks (see flock(2)) on the database file and on `<database>.lock`.

    The lock on the database file applies to all paths of the file, such as hard links. The lock file contains the
    process id of the server. The lock file is locked because older versions of this program lock only this file. The
    kernel releases the locks when the process ends for any reason, so a lock file that a crash left behind locks
    nothing.

    If a process closes any descriptor of the database file, this releases all of SQLite's locks in this process
    (https://www.sqlite.org/howtocorrupt.html, section 2.2). Therefore acquire this lock before SQLite opens the file,
    and release it after SQLite has closed it.
    """

    def __init__(self, database: Path) -> None:
        self._database = Path(os.path.realpath(database))
        self._lock_path = Path(f"{self._database}.lock")
        self._file: LockedFile | None = None
        self._sqlite_files = [Path(f"{self._database}{suffix}") for suffix in ("-wal", "-shm", "-journal")]
        self._found: list[Path] = []
        self._lock_file: LockedFile | None = None

    def acquire(self) -> None:
        """Acquires the locks, and creates missing files. Does nothing if this object already holds the locks.

        Raises DatabaseInUseError if another server holds a lock; the error names its process. Raises
        DatabaseRefusedError if a file can't be opened or created. If this method raises, it has changed no existing
        file.
        """
        if self._lock_file is not None:
            return
        try:
            self._lock_database()
            self._create_lock_file()
        except DatabaseRefusedError:
            self.discard()
            raise

    def _lock_database(self) -> None:
        self._found = [path for path in self._sqlite_files if path.exists()]
        try:
            self._file = LockedFile(self._database, is_locked=_LOCKS_DATABASE)
            if self._file.links > 1:
                _log.warning(
                    "%s has a hard link: after a crash, a server with the other path does not find the orders in %s",
                    self._database,
                    self._sqlite_files[0].name,
                )
        except BlockingIOError:
            raise self._in_use_by(_process_with_flock(self._database) or self._id_in_lock_file()) from None
        except OSError as error:
            if not self._database.parent.exists():
                raise DatabaseRefusedError(f"the folder {self._database.parent} does not exist") from None
            raise DatabaseRefusedError(f"{self._database} can't be opened: {error.strerror or error}") from None

    def _create_lock_file(self) -> None:
        try:
            self._lock_file = LockedFile(self._lock_path)
            self._lock_file.replace_content(f"{os.getpid()}\n".encode())
        except BlockingIOError:
            raise self._in_use_by(self._id_in_lock_file()) from None
        except OSError as error:
            raise DatabaseRefusedError(f"{self._lock_path} can't be written: {error.strerror or error}") from None

    def _in_use_by(self, process: str) -> DatabaseInUseError:
        return DatabaseInUseError(f"{self._database} is in use by another server, process {process or 'unknown'}")

    def _id_in_lock_file(self) -> str:
        try:
            with self._lock_path.open("rb") as file:
                return file.read(32).decode("ascii", "replace").strip()
        except OSError:
            return ""

    def unlock_lock_file(self) -> None:
        """Closes the lock file, to save a file descriptor. The file remains, and contains the process id.

        Must be called after the migration. Older versions of this program lock only the lock file, but they reject the
        schema of a migrated database. Does nothing if the database file itself is not locked.
        """
        if self._lock_file is not None and _LOCKS_DATABASE:
            self._lock_file.close()

    def remove_lock_file(self) -> None:
        """Removes the lock file, but keeps the lock on the database. Can be called twice."""
        if self._lock_file is not None:
            # After `unlock_lock_file`, a lock file of another server can have the same inode number.
            if self._id_in_lock_file() in ("", str(os.getpid())):
                self._lock_file.remove()
            else:
                self._lock_file.close()
            self._lock_file = None

    def release(self) -> None:
        """Removes the lock file and releases the locks. Can be called twice."""
        self.remove_lock_file()
        if self._file is not None:
            self._file.close()
            self._file = None

    def close_in_child(self) -> None:
        """Must be called in a forked child. Closes the descriptors of the child, and removes no file.

        The child shares the open files with the server. A flock lasts until all processes have closed the file. So if
        the child did not close the files, they could stay locked after the server has ended.
        """
        for file in (self._lock_file, self._file):
            if file is not None:
                file.close()
        self._lock_file = self._file = None

    def discard(self) -> None:
        """Releases the locks. If `acquire` created the database, also removes it and the files that SQLite created."""
        if self._file is not None and self._file.is_new:
            for path in self._sqlite_files:
                if path not in self._found:
                    path.unlink(missing_ok=True)
            self._file.remove()
            self._file = None
        self.release()


class LockedFile:
    """An open file. The constructor creates the file if it is missing, and locks it unless `is_locked` is false.

    Raises BlockingIOError if another process holds the lock, and OSError if the file can't be opened for writing.
    """

    def __init__(self, path: Path, *, is_locked: bool = True) -> None:
        self._path = path
        while True:
            self._open()
            try:
                if is_locked:
                    fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BaseException:
                self.close()
                raise
            if self._is_at_path():
                return
            # After this process had opened the file, the server that held the lock has removed or replaced the file.
            self.close()

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CLOEXEC
        try:
            self._descriptor = os.open(self._path, flags | os.O_CREAT | os.O_EXCL, 0o644)
            self.is_new = True
        except FileExistsError:
            self._descriptor = os.open(self._path, flags | os.O_CREAT, 0o644)
            self.is_new = False
        self._is_open = True
        self._status = os.fstat(self._descriptor)

    @property
    def links(self) -> int:
        """How many paths (hard links) the file had when it was opened."""
        return self._status.st_nlink

    def replace_content(self, content: bytes) -> None:
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, content, 0)

    def remove(self) -> None:
        """Closes the file. Also removes the file, unless another file is now at its path."""
        try:
            if self._is_at_path():
                self._path.unlink()
        except OSError as error:
            _log.warning("%s can't be removed: %s", self._path, error.strerror or error)
        self.close()

    def close(self) -> None:
        """Closes the file. Can be called twice."""
        if self._is_open:
            os.close(self._descriptor)
            self._is_open = False

    def _is_at_path(self) -> bool:
        try:
            return os.path.samestat(self._status, self._path.stat())
        except FileNotFoundError:
            return False


def _process_with_flock(path: Path) -> str:
    """The id of the process that holds a flock on the file, from /proc/locks (see proc_locks(5)); empty if unknown."""
    try:
        found = path.stat()
        file = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
        # A read returns one page of /proc/locks at a time. A lock can be left out if other locks are released between
        # two reads.
        for _ in range(_LOCKS_READS):
            for lock in _LOCKS.read_text(encoding="ascii").splitlines():
                # Such as "9: FLOCK  ADVISORY  WRITE 31002 fe:00:2222687 0 EOF". Field 1 of a waiting process is "->".
                fields = lock.split()
                if fields[1:2] == ["FLOCK"] and fields[5] == file and fields[4].isdigit() and fields[4] != "0":
                    return fields[4]
    except OSError:
        pass
    return ""
