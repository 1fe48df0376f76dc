"""The parts of an archive file. Each part is a gzip member (RFC 1952) that says how long it is. Pure functions.

A gzip file can consist of several members, which every program that reads gzip files decompresses one after the other.
Each member begins with an extra field (RFC 1952 §2.3.1.1) that has the length of the member and its number. So a member
is found without decompressing those before it.
"""

import os
import struct
import zlib
from typing import BinaryIO, NamedTuple

_GZIP_BITS = zlib.MAX_WBITS | 16
_FIXED = bytes.fromhex("1f8b0804 00000000 04ff 1000") + b"OR" + bytes.fromhex("0c00")
"""The first bytes of each member: the method "deflate", the flag FEXTRA, no time, an unknown system, and the beginning
of the extra field."""
_LENGTH = struct.Struct("<Iq")
"""The content of the extra field: the length of the member, and its number."""
_HEADER_BYTES = len(_FIXED) + _LENGTH.size
_TRAILER = struct.Struct("<II")


class Member(NamedTuple):
    """A member of an archive file. `number` is the random number of the member."""

    begin: int
    end: int
    number: int


def encode_member(content: bytes, *, number: int) -> bytes:
    """Compresses the content."""
    compressor = zlib.compressobj(level=1, wbits=-zlib.MAX_WBITS)
    data = compressor.compress(content) + compressor.flush()
    length = _HEADER_BYTES + len(data) + _TRAILER.size
    trailer = _TRAILER.pack(zlib.crc32(content), len(content) & 0xFFFFFFFF)
    return _FIXED + _LENGTH.pack(length, number) + data + trailer


def last_member(file: BinaryIO) -> tuple[Member | None, int]:
    """The last whole member of the file, and the end of the whole members. What follows there was cut off by a crash.

    Raises ValueError if the file has other content.
    """
    length = file.seek(0, os.SEEK_END)
    before, last = None, None
    while (member := _member_at(file, last.end if last else 0, length)) is not None:
        before, last = last, member
    # Only the last member can have been written without being synced.
    if last is not None and not _is_whole(file, last):
        last = before
    return last, last.end if last else 0


def read_member(file: BinaryIO, member: Member) -> bytes:
    """The content of the member. Raises zlib.error if it is not complete."""
    file.seek(member.begin)
    return zlib.decompress(file.read(member.end - member.begin), wbits=_GZIP_BITS)


def _member_at(file: BinaryIO, begin: int, length: int) -> Member | None:
    file.seek(begin)
    header = file.read(_HEADER_BYTES)
    fixed = header[: len(_FIXED)]
    if fixed != _FIXED:
        # After a power failure, a file system can return zeros instead of what was not synced.
        if _FIXED.startswith(fixed.rstrip(b"\0")):
            return None
        raise ValueError(f"byte {begin} is not the beginning of a part that --archive has written")
    if len(header) < _HEADER_BYTES:
        return None
    size, number = _LENGTH.unpack(header[len(_FIXED) :])
    return Member(begin, begin + size, number) if _HEADER_BYTES < size <= length - begin else None


def _is_whole(file: BinaryIO, member: Member) -> bool:
    try:
        read_member(file, member)
    except zlib.error:
        return False
    return True
