"""Checks the files that SQLite has open, because SQLite does not. Runs on the thread that writes.

If another program removes or replaces the database or its WAL, SQLite writes to the removed files, and these are gone
when the process ends. If it truncates or overwrites the WAL, SQLite continues to append to it, and a crash loses the
commits whose frames are missing.

The WAL-index, which is the beginning of the `-shm` file, says how many frames the WAL has
(https://www.sqlite.org/walformat.html). This module keeps a descriptor of that file, because closing any descriptor of
it releases SQLite's locks on it in the whole process.
"""

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
"""The page size, the number of frames, the salts, and after a copy of all that the number of checkpointed frames."""
_LARGEST_PAGE = 65_536


class WalDamagedError(Exception):
    """Another program truncated or overwrote the WAL. Nothing may be written until the server is restarted."""


class _WalIndex(NamedTuple):
    page_bytes: int
    frames: int
    salts: bytes
    checkpointed: int


class _Frame(NamedTuple):
    salts: bytes
    place: int
    content: bytes


class OpenFiles:
    """The files of a database that is in use. To be closed after the last connection of the process is closed.

    `database` is the path of the database. In another journal mode than WAL, checks only that file.
    """

    def __init__(self, database: str) -> None:
        self._database = database
        self._identities = self._identities_now()
        self._wal = _open(f"{database}-wal")
        self._index = _open(f"{database}-shm")
        self._last_frame: _Frame | None = None
        self._is_damaged = False
        self.is_checkpointed = False
        """Whether the database file had all commits at the time of the last check."""

    def close(self) -> None:
        for descriptor in (self._wal, self._index):
            if descriptor is not None:
                os.close(descriptor)
        self._wal = self._index = None

    def check_paths(self) -> None:
        """Raises StorageUnavailableError if the database or its WAL was removed or replaced."""
        if self._identities != self._identities_now():
            text = "the database or its WAL was removed or replaced"
            raise StorageUnavailableError(text, code="SQLITE_READONLY_DBMOVED")

    def check_wal(self) -> None:
        """Raises WalDamagedError if frames are missing in the WAL, now or in an earlier check.

        To be called in a write transaction before the first change, and after the commit: before it is acknowledged.
        """
        if self._index is None or self._wal is None:
            return
        while not self._is_damaged:
            index = self._read_index(self._index)
            if index is None:
                return  # another process is writing it; the next transaction checks again
            if self._has_frames(self._wal, index):
                self.is_checkpointed = index.checkpointed >= index.frames
                return
            # Another process may have truncated the WAL after a checkpoint in the meantime, which changes the index.
            self._is_damaged = self._read_index(self._index) == index
        raise WalDamagedError(f"another program truncated or overwrote {self._database}-wal")

    @property
    def is_damaged(self) -> bool:
        """Whether a check has raised WalDamagedError."""
        return self._is_damaged

    @property
    def wal_bytes(self) -> int:
        return 0 if self._wal is None else os.fstat(self._wal).st_size

    def _has_frames(self, wal: int, index: _WalIndex) -> bool:
        """Whether the WAL has its header, is long enough, and still has the frame that was the last one before.

        A truncated WAL that SQLite has appended to is long enough, but with zeros in place of that frame.
        """
        if index.frames == 0:
            self._last_frame = None
            return True
        frame_bytes = _FRAME_HEADER_BYTES + index.page_bytes
        end = _WAL_HEADER_BYTES + index.frames * frame_bytes
        if os.fstat(wal).st_size < end or os.pread(wal, _SALT_BYTES, _WAL_SALTS_AT) != index.salts:
            return False
        last = self._last_frame
        if last and last.salts == index.salts and os.pread(wal, frame_bytes, last.place) != last.content:
            return False
        place = end - frame_bytes
        self._last_frame = _Frame(index.salts, place, os.pread(wal, frame_bytes, place))
        return True

    def _read_index(self, descriptor: int) -> _WalIndex | None:
        content = os.pread(descriptor, _INDEX.size, 0)
        if content[:_INDEX_HEADER_BYTES] != content[_INDEX_HEADER_BYTES : 2 * _INDEX_HEADER_BYTES]:
            return None
        page_bytes, *others = _INDEX.unpack(content)
        return _WalIndex(_LARGEST_PAGE if page_bytes == 1 else page_bytes, *others)

    def _identities_now(self) -> tuple[tuple[int, int] | None, ...]:
        """The identities of the files that are currently at the paths of the database and its WAL."""
        return tuple(_identity(self._database + suffix) for suffix in ("", "-wal"))


def _open(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def _identity(path: str) -> tuple[int, int] | None:
    """The device and inode of the file; None if it does not exist."""
    try:
        found = os.stat(path)  # noqa: PTH116 - called twice for each commit, and creating a Path would take longer
    except OSError:
        return None
    return found.st_dev, found.st_ino
