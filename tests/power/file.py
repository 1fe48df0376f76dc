"""Models a file: what is synced, and which other changes can remain after a power loss.

A sync covers the writes and truncations that had returned when it began. These changes are on disk once the sync has
returned. Every other change can be on disk or not, independently for each sector:

- A sector of 512 bytes has its old content, or any content that was written since. A later write can be on disk when
  an earlier write is not on disk.
- A sector can be torn: one part is newer than the other part. The bytes that were being written can be junk, but the
  bytes beside them do not change. SQLite calls this "powersafe overwrite", and relies on it if a frame of its log
  begins in the middle of a sector (https://www.sqlite.org/psow.html).
- The file can be longer although the new data is not on disk; the new part is zeros or junk. SQLite expects this
  (https://www.sqlite.org/atomiccommit.html, "hardware assumptions"). The frames of its log have checksums
  (https://www.sqlite.org/fileformat.html#the_write_ahead_log). SQLite copies pages from the log to the database only
  after a sync of the log. It restarts the log only after a sync of the database (https://www.sqlite.org/wal.html).
- Synced content stays. Disks that report a sync too early are not modelled.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

SECTOR = 512
TORN = 0.06
JUNK = 0.03
KEPT = (0.0, 0.1, 0.5, 0.9, 1.0)
"""Probabilities that an unsynced sector is on disk. Each power loss uses one of them."""


@dataclass(eq=False)
class Change:
    """A write of `data` at `offset`, or a truncation to `offset` if `data` is None."""

    offset: int
    data: bytes | None
    has_returned: bool = False

    def apply(self, content: bytearray) -> range:
        """Applies the change to `content`, and returns the range of bytes that can be different now."""
        if self.data is None:
            changed = range(min(self.offset, len(content)), max(self.offset, len(content)))
            del content[self.offset :]
            _grow(content, self.offset)
            return changed
        _grow(content, self.offset)
        end = self.offset + len(self.data)
        content[self.offset : end] = self.data
        return range(self.offset, end)


def _grow(content: bytearray, size: int) -> None:
    content.extend(bytes(max(0, size - len(content))))


class _Version(NamedTuple):
    """The content of a sector after a change. The change wrote its bytes from `begin` up to `end`."""

    content: bytes
    begin: int
    end: int


class File:
    """Models the content of one file. Its name is in `Disk`."""

    def __init__(self) -> None:
        self._synced = bytearray()
        self._unsynced: list[Change] = []

    @property
    def synced(self) -> bytes:
        """The content of the file that is certainly on disk."""
        return bytes(self._synced)

    @property
    def written(self) -> bytes:
        """The content of the file as a program reads it, with all changes."""
        content = bytearray(self._synced)
        for change in self._unsynced:
            change.apply(content)
        return bytes(content)

    def add(self, change: Change) -> None:
        """Adds a change whose system call begins. From now on, the change can be on disk."""
        self._unsynced.append(change)

    def begin_sync(self) -> Callable[[], None]:
        """Begins a sync of all earlier changes. Call the returned function when the sync has returned."""
        covered = [change for change in self._unsynced if change.has_returned]

        def end() -> None:
            for change in covered:
                if change in self._unsynced:
                    self._unsynced.remove(change)
                    change.apply(self._synced)

        return end

    def after_power_loss(self, chance: Random) -> bytes:
        """Returns the content after a power loss: one of the possible results, chosen with `chance`."""
        content = bytearray(self._synced)
        sizes = {len(content)}
        versions: dict[int, list[_Version]] = {}
        for change in self._unsynced:
            changed = change.apply(content)
            sizes.add(len(content))
            for sector, version in _versions(content, changed):
                versions.setdefault(sector, []).append(version)
        size = chance.choice(sorted(sizes))
        left = bytearray(self._synced)
        missing = max(0, max(sizes) - len(left))
        left.extend(chance.randbytes(missing) if chance.random() < 0.5 else bytes(missing))
        kept = chance.choice(KEPT)
        for sector, known in versions.items():
            begin = sector * SECTOR
            before = bytes(left[begin : begin + SECTOR])
            left[begin : begin + SECTOR] = _outcome(before, known, kept, chance)[: len(before)]
        return bytes(left[:size])


def _versions(content: bytearray, changed: range) -> Iterator[tuple[int, _Version]]:
    """Yields the number and content of each sector with changed bytes. The last sector is padded with zeros."""
    for sector in range(changed.start // SECTOR, -(-changed.stop // SECTOR)):
        begin = sector * SECTOR
        now = bytes(content[begin : begin + SECTOR]).ljust(SECTOR, b"\0")
        yield sector, _Version(now, max(0, changed.start - begin), min(SECTOR, changed.stop - begin))


def _outcome(before: bytes, versions: list[_Version], kept: float, chance: Random) -> bytes:
    drawn = chance.random()
    if drawn < JUNK:
        _, begin, end = chance.choice(versions)
        return before[:begin] + chance.randbytes(end - begin) + before[end:]
    newer = chance.choice(versions).content if chance.random() < kept else before
    if drawn < JUNK + TORN:
        older = chance.choice([before, *(version.content for version in versions)])
        tear = chance.randrange(SECTOR)
        return newer[:tear] + older[tear:]
    return newer
