"""Reads one HTTP response from bytes as they arrive. Pure values, any thread."""

from typing import NamedTuple

MAX_HEAD_BYTES = 64 * 1024
MAX_BODY_BYTES = 16 * 1024 * 1024
LENGTH_DIGITS = 15
HEAD_END = b"\r\n\r\n"


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
        self._status = 0
        self._head = b""
        self._head_bytes = 0
        self._length: int | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._undecided = b""

    def add(self, data: bytes, *, ended: bool = False) -> Response | None:
        """Take the next bytes, and return the response, or None while bytes are missing.

        `ended` says that no more will come: only then is a response without Content-Length complete.
        """
        if self._status < 200:
            data = self._take_heads(self._undecided + data)
            if self._status < 200:
                self._undecided = data
                return None
        self._parts.append(data)
        self._size += len(data)
        if self._length is None:
            if self._size > MAX_BODY_BYTES:
                raise MalformedResponse(f"a body of over {MAX_BODY_BYTES >> 20} MiB")
            return self._whole(keep_alive=False) if ended else None
        if self._size < self._length:
            return None
        if self._size > self._length:
            raise MalformedResponse("more bytes than its Content-Length says")
        return self._whole(keep_alive=self._head[7:8] == b"1" and b"\r\nconnection: close" not in self._head)

    def _take_heads(self, data: bytes) -> bytes:
        """Read heads up to that of the response itself, and return the bytes after them."""
        while self._status < 200:
            # The end may be partly in the bytes from before and partly in the new ones.
            head_end = data.find(HEAD_END, max(0, len(self._undecided) - len(HEAD_END)))
            self._undecided = b""
            if self._head_bytes + (len(data) if head_end < 0 else head_end) > MAX_HEAD_BYTES:
                raise MalformedResponse(f"headers of over {MAX_HEAD_BYTES >> 10} KiB")
            if head_end < 0:
                if data and not b"HTTP/1.".startswith(data[:7]):
                    raise MalformedResponse("not an HTTP/1 answer")
                break
            head = data[:head_end].lower()
            if not (head.startswith((b"http/1.1 ", b"http/1.0 ")) and head[9:12].isdigit()):
                raise MalformedResponse("not an HTTP/1 answer")
            self._head, self._status = head, int(head[9:12])
            self._head_bytes += head_end + len(HEAD_END)
            data = data[head_end + len(HEAD_END) :]
        else:
            self._length = _content_length(self._head, self._status)
        return data

    def _whole(self, *, keep_alive: bool) -> Response:
        return Response(self._status, self._head, b"".join(self._parts), keep_alive)


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
