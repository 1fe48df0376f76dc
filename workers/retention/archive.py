"""The folder of `--archive`: a gzipped NDJSON file for each UTC day. Used on one thread.

A batch of orders is a gzip member, which is synced to disk before the orders are deleted. The transaction that deletes
them stores the random number of the member. After a crash, this number shows whether the orders of the last member were
deleted. If not, the member is cut off, and the orders are archived again. So each order is in the archive once.
"""

import fcntl
import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import msgspec

from models.errors import StartRefusedError
from workers.retention.members import Member, encode_member, last_member, read_member

_LOCK_NAME = "orders.lock"
_PREFIX, _SUFFIX = "orders-", ".ndjson.gz"
_ID_BITS = 63


class _Line(msgspec.Struct):
    order_id: int


_decode_id = msgspec.json.Decoder(_Line).decode


class ArchiveError(Exception):
    """The archive can't be written. The text gives the reason in one line."""


class Archive:
    """The archive in `folder`. `open` locks the folder, so that no other server uses it.

    `id` identifies the folder. It is a random number, which the lock file contains.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: int | None = None
        self.id = 0

    def open(self) -> None:
        """Creates and locks the folder. Raises StartRefusedError."""
        path = self._folder / _LOCK_NAME
        try:
            self._folder.mkdir(exist_ok=True)
            self._lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            text = os.pread(self._lock, 100, 0)
            if not text.endswith(b"\n"):
                text = b"%d\n" % secrets.randbits(_ID_BITS)
                os.pwrite(self._lock, text, 0)
                os.fsync(self._lock)
                _sync(self._folder)
            self.id = int(text)
        except BlockingIOError:
            self.close()
            raise StartRefusedError(f"--archive {self._folder} is in use by another server") from None
        except OSError as error:
            raise StartRefusedError(f"--archive {self._folder} can't be used: {error.strerror or error}") from error
        except ValueError:
            self.close()
            raise StartRefusedError(f"{path} is not a file of this program") from None

    def close(self) -> None:
        """Unlocks the folder. Can be called twice, and must be called in a forked child, which would keep the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def append(self, lines: Iterable[bytes], now_us: int) -> int:
        """Writes the lines as a member, and syncs it. Returns the number of the member. Raises ArchiveError.

        The file is that of the day of `now_us` (microseconds since 1970), but never older than the newest file.
        """
        day = datetime.fromtimestamp(now_us // 1_000_000, UTC).strftime("%Y-%m-%d")
        path = self._folder / f"{_PREFIX}{day}{_SUFFIX}"
        number = secrets.randbits(_ID_BITS)
        member = encode_member(b"".join(line + b"\n" for line in lines), number=number)
        try:
            path = max(path, self._newest() or path)
            with path.open("ab") as file:
                begin = file.tell()
                try:
                    file.write(member)
                    file.flush()
                    os.fsync(file.fileno())
                except OSError:
                    with suppress(OSError):  # `settle` repeats this
                        file.truncate(begin)
                    raise
            if not begin:
                _sync(self._folder)
        except OSError as error:
            raise ArchiveError(f"{path} can't be written: {error.strerror or error}") from error
        return number

    def settle(self, confirmed: int | None, are_known: Callable[[Sequence[int]], bool]) -> None:
        """Cuts off the last member if it is not complete, or if its orders were not deleted. Raises ArchiveError.

        `confirmed` is the number of the last member whose orders the database has deleted; None if there is none. If
        the last member has another number, its orders were not deleted, or the database was restored from an older
        backup. If it was restored, some of the orders can exist only in the archive, so `are_known` is false for their
        ids, and the member stays.
        """
        if (path := self._newest()) is None:
            return
        try:
            with path.open("r+b") as file:
                member, end = last_member(file)
                if member is not None and member.number != confirmed and are_known(_ids_in(file, member)):
                    end = member.begin
                if end < file.seek(0, os.SEEK_END):
                    file.truncate(end)
                    os.fsync(file.fileno())
        except (OSError, ValueError, msgspec.DecodeError) as error:
            raise ArchiveError(f"{path} can't be continued: {error}") from error

    def _newest(self) -> Path | None:
        return max(self._folder.glob(f"{_PREFIX}*{_SUFFIX}"), default=None)


def _ids_in(file: BinaryIO, member: Member) -> list[int]:
    return [_decode_id(line).order_id for line in read_member(file, member).splitlines()]


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
