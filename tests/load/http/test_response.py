"""Responses that are too long, that never end, or that have invalid numbers."""

from collections import deque
from itertools import repeat

import pytest

from load.http.connection import MAX_BODY_BYTES, MAX_HEAD_BYTES, MalformedResponse, ResponseReader
from tests.load.answers import parse_answer

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
WHOLE = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nX: Y\r\n\r\n{}"


def test_an_answer_in_single_bytes_is_the_answer_in_one_piece() -> None:
    reader = ResponseReader()
    answers = [reader.add(byte.to_bytes()) for byte in CONTINUE + CONTINUE + WHOLE]
    assert answers[-1] == parse_answer(WHOLE)
    assert set(answers[:-1]) == {None}


def test_many_informational_answers_are_passed_over() -> None:
    assert parse_answer(CONTINUE * 2000 + WHOLE) == parse_answer(WHOLE)


@pytest.mark.parametrize(
    ("begin", "more", "complaint"),
    [
        (b"HTTP/1.1 202 Accepted\r\n", b"X: Y\r\n" * 500, "headers of over 64 KiB"),
        (b"", CONTINUE * 100, "headers of over 64 KiB"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 4096, "a body of over 16 MiB"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", b"x" * 4096, "more bytes than its Content-Length says"),
    ],
)
def test_an_answer_without_an_end_is_rejected(begin: bytes, more: bytes, complaint: str) -> None:
    reader = ResponseReader()
    reader.add(begin)
    with pytest.raises(MalformedResponse, match=complaint):
        deque(map(reader.add, repeat(more, (MAX_HEAD_BYTES + MAX_BODY_BYTES) // len(more) + 1)), maxlen=0)


@pytest.mark.parametrize("length", ["9" * 5000, "0" * 5000, str(MAX_BODY_BYTES + 1)])
def test_a_content_length_that_is_too_long_or_too_large_is_rejected(length: str) -> None:
    with pytest.raises(MalformedResponse, match="a Content-Length of over 16 MiB"):
        parse_answer(WHOLE.replace(b": 2", f": {length}".encode()))
