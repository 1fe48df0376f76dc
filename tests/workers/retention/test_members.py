"""Gzip members of an archive file, complete and cut off."""

import gzip
import io

import pytest

from workers.retention.members import encode_member, last_member, read_member

FIRST, SECOND = encode_member(b"one\n", number=5), encode_member(b"two\n" * 1_000, number=2**63 - 1)


def test_every_gzip_program_reads_all_members() -> None:
    assert gzip.decompress(FIRST + SECOND) == b"one\n" + b"two\n" * 1_000


def test_the_last_member_is_found() -> None:
    assert last_member(io.BytesIO(b"")) == (None, 0)
    file = io.BytesIO(FIRST + SECOND)
    assert last_member(file) == ((len(FIRST), len(FIRST + SECOND), 2**63 - 1), len(FIRST + SECOND))
    member, _ = last_member(file)
    assert member
    assert read_member(file, member) == b"two\n" * 1_000


@pytest.mark.parametrize("length", range(len(SECOND) - 2))  # the last two bytes are zeros, too
def test_a_member_that_was_cut_off_is_ignored(length: int) -> None:
    whole = ((0, len(FIRST), 5), len(FIRST))
    for rest in (b"", bytes(len(SECOND) - length), b"U" * (len(SECOND) - length) if length > 34 else b""):
        assert last_member(io.BytesIO(FIRST + SECOND[:length] + rest)) == whole
    assert last_member(io.BytesIO(SECOND[:length])) == (None, 0)


@pytest.mark.parametrize("content", [b"x" * 100, gzip.compress(b"other" * 100, mtime=0), FIRST + b"x" * 100])
def test_other_content_is_an_error(content: bytes) -> None:
    with pytest.raises(ValueError, match="is not the beginning of a part"):
        last_member(io.BytesIO(content))
