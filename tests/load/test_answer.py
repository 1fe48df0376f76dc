"""Reading HTTP answers from bytes."""

import pytest

from load.answer import Answer, MalformedAnswer, parse_answer

WHOLE = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\nX: Y\r\n\r\n{}"


def test_a_whole_answer_is_read() -> None:
    head = b"http/1.1 202 accepted\r\ncontent-length: 2\r\nx: y"
    assert parse_answer(WHOLE) == Answer(202, head, b"{}", True)


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_a_part_of_an_answer_is_none_yet(length: int) -> None:
    assert parse_answer(WHOLE[:length]) is None
    assert parse_answer(WHOLE[:length], ended=True) is None


@pytest.mark.parametrize(
    "header", [b"CONTENT-LENGTH:2", b"content-length:   2  ", b"A: content-length: 9\r\nContent-Length: 2"]
)
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
    assert parse_answer(text, ended=True) == Answer(200, b"http/1.0 200 ok", b"hello", False)


def test_an_answer_that_never_has_a_body_needs_no_length() -> None:
    assert parse_answer(b"HTTP/1.1 204 No Content\r\n\r\n") == Answer(204, b"http/1.1 204 no content", b"", True)


def test_informational_answers_are_passed_over() -> None:
    assert parse_answer(b"HTTP/1.1 100 Continue\r\n\r\n") is None
    answer = parse_answer(b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE)
    assert answer is not None
    assert answer.status == 202


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not an HTTP/1 answer"),
        (b"HTTP/1.1 abc\r\n\r\n", "not an HTTP/1 answer"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "not an HTTP/1 answer"),
        (WHOLE + b"x", "more bytes"),
        (WHOLE.replace(b": 2", b": -2"), "no number"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "chunked"),
    ],
)
def test_what_can_t_be_read_is_said_clearly(text: bytes, complaint: str) -> None:
    with pytest.raises(MalformedAnswer, match=complaint):
        parse_answer(text)
