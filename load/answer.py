"""Owns the reading of HTTP answers from bytes."""

from typing import NamedTuple


class MalformedAnswer(ValueError):
    """The bytes are no answer that this client can read."""


class Answer(NamedTuple):
    """One answer; `head` is its status line and headers in lower case, without the blank line."""

    status: int
    head: bytes
    body: bytes
    keep_alive: bool


def parse_answer(data: bytes, *, ended: bool = False) -> Answer | None:
    """Read one answer, or give None while bytes are missing.

    `ended` says that no more will come: an answer without Content-Length is whole only then. Informational answers
    (1xx) are passed over. MalformedAnswer for what is no HTTP, for chunked bodies and for bytes past the end.
    """
    head_end = data.find(b"\r\n\r\n")
    if head_end < 0:
        if data and not b"HTTP/1.".startswith(data[:7]):
            raise MalformedAnswer("not an HTTP/1 answer")
        return None
    head = data[:head_end].lower()
    if not (head.startswith((b"http/1.1 ", b"http/1.0 ")) and head[9:12].isdigit()):
        raise MalformedAnswer("not an HTTP/1 answer")
    status = int(head[9:12])
    body = data[head_end + 4 :]
    if status < 200:
        return parse_answer(body, ended=ended)
    keep_alive = head[7:8] == b"1" and b"\r\nconnection: close" not in head
    length = _content_length(head, status)
    if length is None:
        return Answer(status, head, body, False) if ended else None
    if len(body) < length:
        return None
    if len(body) > length:
        raise MalformedAnswer("more bytes than its Content-Length says")
    return Answer(status, head, body, keep_alive)


def _content_length(head: bytes, status: int) -> int | None:
    found = head.find(b"\r\ncontent-length:")
    if found < 0:
        if b"\r\ntransfer-encoding:" in head:
            raise MalformedAnswer("a chunked answer, which the load generator does not read")
        return 0 if status in (204, 304) else None
    end = head.find(b"\r\n", found + 2)
    digits = head[found + 17 : end if end >= 0 else None].strip()
    if not digits.isdigit():
        raise MalformedAnswer("a Content-Length that is no number")
    return int(digits)
