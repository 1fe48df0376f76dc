"""A file that remembers what of it must be on disk and what need not be.

What a write or a truncation changed is safe once a sync has returned that began after they had returned. All else may
be there or not, each sector for itself:

- A sector of 512 bytes has its content from before, or any of those it was given since: what was written later may be
  there and what was written earlier not.
- A sector can be torn, the first part newer and the rest older or the other way round, and the bytes that were being
  written can be junk. No byte beside them changes, which SQLite calls "powersafe overwrite" and relies on where a frame
  of its log begins in the middle of a sector (https://www.sqlite.org/psow.html).
- The file may have grown before what was written into it arrived; the new part is zeros or junk. SQLite expects no
  better (https://www.sqlite.org/atomiccommit.html, "hardware assumptions"): the frames of its log have checksums
  (https://www.sqlite.org/fileformat.html#the_write_ahead_log), pages go from the log into the database only after the
  log was synced, and the log begins anew only after the database was (https://www.sqlite.org/wal.html).
- What was synced stays: a disk that lies about that is not covered by anybody's promise.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

SECTOR = 512
TORN = 0.06
JUNK = 0.03
KEPT = (0.0, 0.1, 0.5, 0.9, 1.0)
"""How likely a sector that need not be there is: each outage has one of these."""


@dataclass(eq=False)
class Change:
    """A write of `data` at `offset`, or a truncation to `offset` where `data` is None."""

    offset: int
    data: bytes | None
    has_returned: bool = False

    def apply(self, content: bytearray) -> range:
        """The bytes that it may have changed."""
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
    """What a sector was given, and which of its bytes were written."""

    content: bytes
    begin: int
    end: int


class File:
    """One file, whatever its name is."""

    def __init__(self) -> None:
        self._safe = bytearray()
        self._unsafe: list[Change] = []

    @property
    def safe(self) -> bytes:
        """What must be there."""
        return bytes(self._safe)

    @property
    def written(self) -> bytes:
        """What whoever reads the file sees."""
        content = bytearray(self._safe)
        for change in self._unsafe:
            change.apply(content)
        return bytes(content)

    def add(self, change: Change) -> None:
        """It begins, and may be on disk from now on."""
        self._unsafe.append(change)

    def begin_sync(self) -> Callable[[], None]:
        """A sync begins; the result is to be called once it has returned."""
        covered = [change for change in self._unsafe if change.has_returned]

        def end() -> None:
            for change in covered:
                if change in self._unsafe:
                    self._unsafe.remove(change)
                    change.apply(self._safe)

        return end

    def left_over(self, chance: Random) -> bytes:
        """What an outage may leave."""
        content = bytearray(self._safe)
        sizes = {len(content)}
        versions: dict[int, list[_Version]] = {}
        for change in self._unsafe:
            changed = change.apply(content)
            sizes.add(len(content))
            for sector, version in _versions(content, changed):
                versions.setdefault(sector, []).append(version)
        size = chance.choice(sorted(sizes))
        left = bytearray(self._safe)
        missing = max(0, max(sizes) - len(left))
        left.extend(chance.randbytes(missing) if chance.random() < 0.5 else bytes(missing))
        kept = chance.choice(KEPT)
        for sector, known in versions.items():
            begin = sector * SECTOR
            before = bytes(left[begin : begin + SECTOR])
            left[begin : begin + SECTOR] = _outcome(before, known, kept, chance)[: len(before)]
        return bytes(left[:size])


def _versions(content: bytearray, changed: range) -> Iterator[tuple[int, _Version]]:
    """What each sector with changed bytes is now; zeros beyond the end of the file."""
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
