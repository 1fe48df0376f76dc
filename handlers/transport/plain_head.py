"""Parses the heads (request line and headers) of requests on the plain lane (`handlers/transport/lane.py`).

The parser accepts a strict subset of the RFC 9112 grammar that all implementations interpret alike. For each accepted
head, Tornado's parser gives the same result. If the parser does not accept a head, Tornado serves the request. Pure
functions.
"""

import functools
import re
from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct

MAX_HEAD_BYTES = 4 * 1024
MAX_CACHED_BYTES = 512
"""If a head, or its header lines, have at most this many bytes, the result of parsing them is cached."""
_MAX_LENGTH_DIGITS = 9

_REQUEST_LINE = re.compile(rb"(GET|POST) (/[A-Za-z0-9/_.~-]*) HTTP/1\.")
# The last digit of the version, and the header lines. Lines end with CR LF and are not folded. Values contain no
# control characters except tabs.
_LINES = re.compile(rb"[01](?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*)+")
_END = b"\r\n\r\n"
_FIELD = re.compile(r"\r\n([^:]+):[\t ]*([^\r]*)")
PLAIN_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?")
_NOT_PLAIN = frozenset({"transfer-encoding", "content-encoding", "expect", "upgrade", "trailer", "te"})
"""A request with one of these headers is not plain: each of them changes how a request is read or answered."""


class PlainHead(Struct, frozen=True, gc=False):
    """The head of a plain request: one valid Host, no repeated header, no body without Content-Length.

    `path` has no query and no percent-encoding. The names in `fields` are lower-case.
    """

    method: str
    path: str
    fields: Mapping[str, str]
    body_start: int
    """The index in the data where the body begins."""
    body_end: int
    """The index in the data where the body ends, possibly beyond the end of the data."""
    is_last: bool
    """Whether the connection is closed after the response, because the client asks for it or uses HTTP/1.0."""
    is_http_1_0: bool


class _Lines(NamedTuple):
    """The parsed header lines and version of a request."""

    fields: Mapping[str, str]
    length: int
    is_last: bool
    is_http_1_0: bool


def read_plain_head(data: bytes) -> PlainHead | None:
    """The head at the start of `data`. None if this head is incomplete, longer than `MAX_HEAD_BYTES`, or not plain."""
    end = data.find(_END, 0, MAX_HEAD_BYTES)
    if end < 0:
        return None
    # Only heads of a POST are cached as a whole, because most requests with GET have different paths.
    is_cached = end <= MAX_CACHED_BYTES and data.startswith(b"POST")
    return _read_head_again(data[:end]) if is_cached else _read_head(data[:end])


def _read_head(head: bytes) -> PlainHead | None:
    """The head without its last two line breaks. None if it is not plain."""
    found = _REQUEST_LINE.match(head)
    if found is None:
        return None
    text = head[found.end() :]
    lines = _read_lines_again(text) if len(text) <= MAX_CACHED_BYTES else _read_lines(text)
    if lines is None:
        return None
    method, path = found.groups()
    fields, length, is_last, is_http_1_0 = lines
    body_start = len(head) + len(_END)
    return PlainHead(method.decode(), path.decode(), fields, body_start, body_start + length, is_last, is_http_1_0)


def _read_lines(lines: bytes) -> _Lines | None:
    """Reads the last digit of the version, and the header lines after it. None if the head is not plain."""
    if not _LINES.fullmatch(lines):
        return None
    pairs = _FIELD.findall(lines.decode("latin-1"))
    fields = {name.lower(): value.rstrip("\t ") for name, value in pairs}
    if len(fields) != len(pairs) or not _NOT_PLAIN.isdisjoint(fields):
        return None
    # The defaults of RFC 9112 §9.3. A request of HTTP/1.0 with keep-alive is not plain, because its response needs an
    # additional header.
    is_http_1_0 = lines.startswith(b"0")
    connection = fields.get("connection", "close" if is_http_1_0 else "keep-alive").lower()
    is_last = connection == "close"
    if not is_last and (is_http_1_0 or connection != "keep-alive"):
        return None
    if not PLAIN_HOST.fullmatch(fields.get("host", "")):
        return None
    length = fields.get("content-length", "0")
    if not (length.isascii() and length.isdigit()) or len(length) > _MAX_LENGTH_DIGITS:
        return None
    return _Lines(fields, int(length), is_last, is_http_1_0)


_read_head_again = functools.lru_cache(maxsize=1_000)(_read_head)
_read_lines_again = functools.lru_cache(maxsize=1_000)(_read_lines)
"""These functions have a cache, because a client usually sends the same headers with each request."""
