"""Reads rows of integers from a WAL or a database file without the SQLite library. Runs on the caller's thread.

The formats are at https://www.sqlite.org/fileformat2.html.
"""

import mmap
import struct
from pathlib import Path
from typing import NamedTuple

DATABASE_MAGIC = b"SQLite format 3\0"
_WAL_HEADER = struct.Struct(">4I8s2I")
"""The header of a WAL: magic number, version, page size, checkpoint number, salts, checksum."""
_CHECKSUM_WORDS = {0x377F0682: struct.Struct("<6I"), 0x377F0683: struct.Struct(">6I")}
"""Maps the magic number of a WAL to the format of the words from which the checksum of its header is computed."""
_FRAME_HEADER = struct.Struct(">2I8s2I")
"""The header of a frame: page number, size of the database in pages if the frame ends a commit, else 0, salts,
checksum."""
_PAGE_HEADER = struct.Struct(">BHHHBH")
"""The header of a page: type, first free block, number of cells, begin of the cells, fragmented bytes, position of the
first cell."""
_TABLE_LEAF = 13
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
"""SQLite's serial types of integers, and the lengths of these integers in bytes."""
_CONSTANTS = {0: None, 8: 0, 9: 1}
"""SQLite's serial types that stand for a constant, and the values of these constants."""

Row = list[int | None]


class Wal(NamedTuple):
    """A WAL: its page size, and the rows that `single_row` found in its pages."""

    page_bytes: int
    rows: list[Row]


def read_wal(path: Path) -> Wal | None:
    """Reads a WAL. Returns None if there is no WAL, or if the WAL has no commit, so that SQLite has nothing to replay.

    Reads frames until the salts of a frame differ from the salts in the header of the WAL. Does not check the checksums
    of frames. Therefore the result can include rows of a transaction that was not committed.
    """
    if not path.is_file() or path.stat().st_size <= _WAL_HEADER.size:
        return None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        magic, _, page_bytes, _, salts, *checksum = _WAL_HEADER.unpack_from(content)
        if magic not in _CHECKSUM_WORDS or checksum != _checksum(_CHECKSUM_WORDS[magic].unpack_from(content)):
            return None
        rows = []
        has_commit = False
        frame_bytes = _FRAME_HEADER.size + page_bytes
        for begin in range(_WAL_HEADER.size, len(content) - frame_bytes + 1, frame_bytes):
            _, size_after_commit, frame_salts, *_ = _FRAME_HEADER.unpack_from(content, begin)
            if frame_salts != salts:
                break
            has_commit = has_commit or size_after_commit > 0
            page = memoryview(content)[begin + _FRAME_HEADER.size : begin + frame_bytes]
            if row := single_row(page):
                rows.append(row)
            page.release()
    return Wal(page_bytes, rows) if has_commit else None


def _checksum(words: tuple[int, ...]) -> list[int]:
    first = second = 0
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return [first, second]


def single_row(page: bytes | memoryview) -> Row | None:
    """The row of a page that has exactly one row of a table, with only integers and NULLs; None for other pages."""
    if len(page) < _PAGE_HEADER.size:
        return None
    kind, _, cells, _, _, cell = _PAGE_HEADER.unpack_from(page)
    if (kind, cells) != (_TABLE_LEAF, 1):
        return None
    try:
        return _integers_at(page, cell)
    except IndexError:  # the bytes are not a row
        return None


def _integers_at(page: bytes | memoryview, cell: int) -> Row | None:
    _, at = _varint(page, cell)  # the length of the payload
    _, header = _varint(page, at)  # the row id
    header_bytes, at = _varint(page, header)
    value_at = header_end = header + header_bytes
    row: Row = []
    while at < header_end:
        kind, at = _varint(page, at)
        if kind in _CONSTANTS:
            row.append(_CONSTANTS[kind])
        elif kind in _INTEGERS:
            row.append(int.from_bytes(page[value_at : value_at + _INTEGERS[kind]], "big", signed=True))
            value_at += _INTEGERS[kind]
        else:
            return None
    return row if value_at <= len(page) else None


def _varint(page: bytes | memoryview, at: int) -> tuple[int, int]:
    """The variable-length integer at the position `at`, and the position after it."""
    value = 0
    for position in range(at, at + 8):
        value = value << 7 | page[position] & 0x7F
        if page[position] < 0x80:
            return value, position + 1
    return value << 8 | page[at + 8], at + 9
