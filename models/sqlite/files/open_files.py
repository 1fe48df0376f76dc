"""Checks that nobody has removed, replaced or truncated the files that SQLite has open. SQLite does not check this.

Runs on the thread that writes. `check_wal` can run at the same time on the thread that makes checkpoints.

If another program removes or replaces the database or its WAL, SQLite continues to write to the removed files, which
are lost when the process ends. If another program truncates or overwrites the WAL, SQLite continues to append to the
WAL, and the commits whose frames are missing are lost when the process ends.

The WAL-index, which is the beginning of the `-shm` file, says how many frames the WAL has
(https://www.sqlite.org/walformat.html). While a process has connections to the database, SQLite has one descriptor of
the `-shm` file in this process. This module uses this descriptor to read the file, because closing any other descriptor
of the file would release SQLite's locks on the file. This module opens the WAL again for each check: if the WAL stayed
open, the server would have one descriptor less for connections of clients.
"""

import contextlib
import errno
import os
import struct
from typing import NamedTuple

from models.errors import StorageUnavailableError

_WAL_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24
_SALT_BYTES = 8
_WAL_SALTS_AT = 16
_INDEX_HEADER_BYTES = 48
_INDEX = struct.Struct("=14xHI12x8s56xI")
"""The beginning of the WAL-index: page size, number of frames, salts. Then, after a second copy of all fields, the
number of checkpointed frames."""
_LARGEST_PAGE = 65_536
_CHECKED_LATER = (errno.ENOENT, errno.EMFILE, errno.ENFILE)
"""If the WAL can't be opened because of one of these errors, it is not checked now. If the WAL is missing, the next
`check_paths` reports this. If the process has no free file descriptor, a later check will probably get one."""


class WalDamagedError(Exception):
    """Another program truncated or overwrote the WAL. Nothing may be written until the server is restarted."""


class _WalIndex(NamedTuple):
    page_size: int
    frames: int
    salts: bytes
    checkpointed: int

    @property
    def frame_bytes(self) -> int:
        return _FRAME_HEADER_BYTES + (_LARGEST_PAGE if self.page_size == 1 else self.page_size)

    @property
    def wal_bytes(self) -> int:
        return _WAL_HEADER_BYTES + self.frames * self.frame_bytes if self.frames else 0


class _Frame(NamedTuple):
    salts: bytes
    position: int
    content: bytes


class OpenFiles:
    """The files of an open database. Must not be used after the process has closed its last connection to the database.

    `database` is the path of the database. If the journal mode is not WAL, checks only the database file.
    """

    def __init__(self, database: str) -> None:
        self._database = database
        self._identities, wal_bytes = self._stat()
        self.last_wal_bytes = wal_bytes
        """The size of the WAL at the last `check_paths`."""
        self._index_file = _descriptor_of(f"{database}-shm")
        self._last_frame: _Frame | None = None
        self._is_damaged = False
        self.wal_pages = 0
        """How many pages the WAL had at the last `check_wal`."""
        self.copied_pages = 0
        """How many of these pages checkpoints had copied to the database file."""
        self.is_checkpointed = False
        """Whether the database file, without the WAL, had all commits at the time of the last `check_length`."""

    def check_paths(self) -> None:
        """Raises StorageUnavailableError if the database or its WAL was removed or replaced."""
        identities, self.last_wal_bytes = self._stat()
        if self._identities != identities:
            if self._identities[0] != identities[0]:
                text = f"{self._database} was moved, removed or replaced. Put the same file back"
            else:
                text = f"{self._database}-wal was moved, removed or replaced. Stop the server with SIGTERM, which saves"
                text += " all accepted orders in the database file, and start it again"
            raise StorageUnavailableError(text, code="SQLITE_READONLY_DBMOVED")

    def check_length(self) -> None:
        """Calls `check_wal` if the WAL, at the last `check_paths`, was shorter than the WAL-index says.

        Must be called in a write transaction, before the first change of the transaction.
        """
        index = self._read_index()
        if self._is_damaged or (index and self.last_wal_bytes < index.wal_bytes):
            self.check_wal()
        elif index:
            self.is_checkpointed = index.checkpointed >= index.frames

    def check_wal(self) -> None:
        """Raises WalDamagedError if frames are missing in the WAL, or if an earlier check found this.

        Must be called after each commit, before the commit is acknowledged.
        """
        while not self._is_damaged:
            index = self._read_index()
            if index is None:
                return
            if self._has_frames(index):
                self.wal_pages, self.copied_pages = index.frames, index.checkpointed
                return
            # The WAL is damaged only if the index is still the same: another process changes the index when it
            # truncates the WAL after a checkpoint.
            self._is_damaged = self._read_index() == index
        raise WalDamagedError(f"another program truncated or overwrote {self._database}-wal")

    @property
    def is_damaged(self) -> bool:
        """Whether a check has raised WalDamagedError."""
        return self._is_damaged

    @property
    def wal_bytes(self) -> int:
        """The current size of the WAL. Can be called on any thread."""
        return self._stat()[1]

    def _has_frames(self, index: _WalIndex) -> bool:
        """Whether the WAL has its header, its last frame, and the frame that was the last at the previous check.

        If the WAL was truncated and SQLite then appended to it, the WAL has zeros where that previous frame was.
        """
        if index.frames == 0:
            self._last_frame = None
            return True
        try:
            wal = os.open(f"{self._database}-wal", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in _CHECKED_LATER:
                return True
            raise StorageUnavailableError(f"{self._database}-wal can't be opened: {error.strerror}") from error
        try:
            if os.pread(wal, _SALT_BYTES, _WAL_SALTS_AT) != index.salts:
                return False
            last = self._last_frame
            if last and last.salts == index.salts and os.pread(wal, len(last.content), last.position) != last.content:
                return False
            position = index.wal_bytes - index.frame_bytes
            content = os.pread(wal, index.frame_bytes, position)
        finally:
            os.close(wal)
        self._last_frame = _Frame(index.salts, position, content)
        return len(content) == index.frame_bytes

    def _read_index(self) -> _WalIndex | None:
        """The WAL-index; None if another process is changing it. In this case, the next transaction reads it."""
        if self._index_file is None:
            return None
        content = os.pread(self._index_file, _INDEX.size, 0)
        if content[:_INDEX_HEADER_BYTES] != content[_INDEX_HEADER_BYTES : 2 * _INDEX_HEADER_BYTES]:
            return None
        return _WalIndex(*_INDEX.unpack(content))

    def _stat(self) -> tuple[tuple[tuple[int, int] | None, ...], int]:
        """The device and inode numbers of the files at the paths of the database and the WAL, and the size of the WAL.

        The numbers of a missing file are None, and its size is 0.
        """
        database, wal = (_stat(self._database + suffix) for suffix in ("", "-wal"))
        identities = tuple(found and (found.st_dev, found.st_ino) for found in (database, wal))
        return identities, wal.st_size if wal else 0


def _descriptor_of(path: str) -> int | None:
    """A descriptor that this process has for the file; None if this process does not have the file open."""
    found = _stat(path)
    if found is None:
        return None
    for descriptor in map(int, os.listdir("/dev/fd")):  # noqa: PTH208 - names are needed, not paths
        with contextlib.suppress(OSError):  # the descriptor of this folder is closed by now
            if os.path.samestat(os.fstat(descriptor), found):
                return descriptor
    return None


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116 - called twice for each commit, and creating a Path would take longer
    except OSError:
        return None
