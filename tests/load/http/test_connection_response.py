"""Tests reading complete, incomplete, malformed and endless responses from bytes."""

import pytest

from load.http.connection import MAX_BODY_BYTES, MAX_HEAD_BYTES, MalformedResponse, Response, parse_response
from tests.cases import cases
from tests.load.answers import parse_answer

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
WHOLE = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nX: Y\r\n\r\n{}"


def test_an_answer_in_single_bytes_is_the_answer_in_one_piece() -> None:
    text = CONTINUE + CONTINUE + WHOLE
    answers = [parse_response(text[:length]) for length in range(1, len(text) + 1)]
    assert answers[-1] == parse_answer(WHOLE)
    assert set(answers[:-1]) == {None}


def test_many_informational_answers_are_passed_over() -> None:
    assert parse_answer(CONTINUE * 2000 + WHOLE) == parse_answer(WHOLE)


@cases(
    ("begin", "more", "complaint"),
    [
        (b"HTTP/1.1 202 Accepted\r\n", b"X: Y\r\n" * 500, "headers of over 64 KiB"),
        (b"", CONTINUE * 100, "headers of over 64 KiB"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 4096, "a body of over 16 MiB"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", b"x" * 4096, "more bytes than its Content-Length says"),
    ],
)
def test_an_answer_without_an_end_is_rejected(begin: bytes, more: bytes, complaint: str) -> None:
    data = bytearray(begin)
    assert parse_response(data) is None
    with pytest.raises(MalformedResponse, match=complaint):
        _grow(data, more)


def _grow(data: bytearray, more: bytes) -> None:
    """Add `more` to the data again and again, up to the largest allowed response. Parse all data each time."""
    while len(data) <= MAX_HEAD_BYTES + MAX_BODY_BYTES:
        data += more
        parse_response(data)


@cases("length", ["9" * 5000, "0" * 5000, str(MAX_BODY_BYTES + 1)])
def test_a_content_length_that_is_too_long_or_too_large_is_rejected(length: str) -> None:
    with pytest.raises(MalformedResponse, match="a Content-Length that is not a number of up to 16 MiB"):
        parse_answer(WHOLE.replace(b": 2", f": {length}".encode()))


def test_a_whole_answer_is_read() -> None:
    head = b"http/1.1 202 accepted\r\ncontent-length: 2\r\nx: y"
    assert parse_answer(WHOLE) == Response(202, head, b"{}", True)


@cases("length", range(len(WHOLE)))
def test_a_part_of_an_answer_is_not_complete(length: int) -> None:
    assert parse_answer(WHOLE[:length]) is None
    assert parse_answer(WHOLE[:length], ended=True) is None


@cases("header", [b"CONTENT-LENGTH:2", b"content-length:   2  ", b"A: content-length: 9\r\nContent-Length: 2"])
def test_headers_are_read_whatever_their_case_and_spaces(header: bytes) -> None:
    answer = parse_answer(b"HTTP/1.1 200 OK\r\n" + header + b"\r\n\r\n{}")
    assert answer is not None
    assert answer.body == b"{}"


@pytest.mark.parametrize(
    "text", [WHOLE.replace(b"X: Y", b"Connection: close"), WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0")]
)
def test_an_answer_may_end_its_connection(text: bytes) -> None:
    answer = parse_answer(text)
    assert answer is not None
    assert not answer.keep_alive


def test_an_answer_without_a_length_lasts_until_the_connection_ends() -> None:
    text = b"HTTP/1.0 200 OK\r\n\r\nhello"
    assert parse_answer(text) is None
    assert parse_answer(text, ended=True) == Response(200, b"http/1.0 200 ok", b"hello", False)


def test_an_answer_without_a_body_needs_no_length() -> None:
    assert parse_answer(b"HTTP/1.1 204 No Content\r\n\r\n") == Response(204, b"http/1.1 204 no content", b"", True)


def test_informational_answers_are_passed_over() -> None:
    assert parse_answer(b"HTTP/1.1 100 Continue\r\n\r\n") is None
    answer = parse_answer(b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE)
    assert answer is not None
    assert answer.status == 202


@cases(
    ("text", "complaint"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not an HTTP/1 answer"),
        (b"HTTP/1.1 abc\r\n\r\n", "not an HTTP/1 answer"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "not an HTTP/1 answer"),
        (WHOLE + b"x", "more bytes"),
        (WHOLE.replace(b": 2", b": -2"), "not a number"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "chunked"),
    ],
)
def test_an_unreadable_answer_has_a_clear_error(text: bytes, complaint: str) -> None:
    with pytest.raises(MalformedResponse, match=complaint):
        parse_answer(text)
