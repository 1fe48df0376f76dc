"""Reads one HTTP response from bytes as they arrive. Pure values, any thread."""

import re
from typing import NamedTuple

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 16 * 1024 * 1024
LENGTH_DIGITS = 15
HEAD_END = b"\r\n\r\n"
STATUS_LINE = re.compile(rb"http/1\.[01] ([0-9]{3})")


class MalformedResponse(ValueError):
    """The bytes are no response that this client can read."""


class Response(NamedTuple):
    """One response; `head` is its status line and headers in lower case, without the blank line."""

    status: int
    head: bytes
    body: bytes
    keep_alive: bool


class ResponseReader:
    """Reads one response; looks at no byte twice.

    Skips informational responses (1xx). MalformedResponse if it is no HTTP/1, has a chunked body, has bytes after its
    end, or if all heads are over 64 KiB or the body is over 16 MiB.
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._head = b""
        self._head_bytes = 0
        self._status = 0
        self._length: int | None = None

    def add(self, data: bytes, *, ended: bool = False) -> Response | None:
        """Take the next bytes, and return the response, or None while bytes are missing.

        `ended` says that no more will come: only then is a response without Content-Length complete.
        """
        searched = len(self._data)
        self._data += data
        if self._status < 200 and not self._take_heads(searched):
            return None
        size, length = len(self._data), self._length
        if length is None and size > MAX_BODY_BYTES:
            raise MalformedResponse(f"a body of over {MAX_BODY_BYTES >> 20} MiB")
        if length is not None and size > length:
            raise MalformedResponse("more bytes than its Content-Length says")
        if size != length and not (length is None and ended):
            return None
        is_kept = length is not None and self._head[7:8] == b"1" and b"\r\nconnection: close" not in self._head
        return Response(self._status, self._head, bytes(self._data), is_kept)

    def _take_heads(self, searched: int) -> bool:
        """Read heads up to that of the response itself; False if that is not complete."""
        while self._status < 200:
            # The end may be partly in the bytes from before and partly in the new ones.
            end = self._data.find(HEAD_END, max(0, searched - len(HEAD_END)))
            searched = 0
            if self._head_bytes + (len(self._data) if end < 0 else end) > MAX_HEAD_BYTES:
                raise MalformedResponse(f"headers of over {MAX_HEAD_BYTES >> 10} KiB")
            if end < 0 and b"HTTP/1.".startswith(self._data[:7]):
                return False
            head = bytes(self._data[:end]).lower()
            status = STATUS_LINE.match(head)
            if end < 0 or not status:
                raise MalformedResponse("not an HTTP/1 answer")
            self._head, self._status = head, int(status[1])
            self._head_bytes += end + len(HEAD_END)
            del self._data[: end + len(HEAD_END)]
        self._length = _content_length(self._head, self._status)
        return True


def _content_length(head: bytes, status: int) -> int | None:
    found = head.find(b"\r\ncontent-length:")
    if found < 0:
        if b"\r\ntransfer-encoding:" in head:
            raise MalformedResponse("a chunked answer, which the load generator does not read")
        return 0 if status in (204, 304) else None
    end = head.find(b"\r\n", found + 2)
    digits = head[found + 17 : end if end >= 0 else None].strip()
    if not digits.isdigit():
        raise MalformedResponse("a Content-Length that is no number")
    # int() raises for thousands of digits.
    length = int(digits) if len(digits) <= LENGTH_DIGITS else None
    if length is None or length > MAX_BODY_BYTES:
        raise MalformedResponse(f"a Content-Length of over {MAX_BODY_BYTES >> 20} MiB")
    return length
