"""Reads the head of a plain request. Pure.

A regular expression accepts a strict part of RFC 9112's grammar, of which every implementation has the same reading:
if it accepts a request, Tornado's parser reads that request in the same way. All other requests are left to Tornado.
"""

import functools
import re
from collections.abc import Mapping
from typing import NamedTuple

MAX_HEAD_BYTES = 4 * 1024
MAX_CACHED_BYTES = 512
_MAX_LENGTH_DIGITS = 9

# A line ends with CR LF, no line is folded, and a value has no control character but the tab.
_HEAD = re.compile(
    rb"(GET|POST) (/[A-Za-z0-9/_.~-]*) HTTP/1\.1((?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*)+)\r\n\r\n"
)
_FIELD = re.compile(r"\r\n([^:]+):[\t ]*([^\r]*)")
PLAIN_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?")
_NOT_PLAIN = frozenset({"transfer-encoding", "content-encoding", "expect", "upgrade", "trailer", "te"})
"""Fields that change how the body or the connection is read."""


class PlainHead(NamedTuple):
    """The head of a plain request: HTTP/1.1, one valid Host, no field twice, no body but one of a given length.

    `path` has no query and no percent-encoding. `fields` has lower-case names.
    """

    method: str
    path: str
    fields: Mapping[str, str]
    body_start: int
    """Where the body begins in the data."""
    body_end: int


def read_plain_head(data: bytes) -> PlainHead | None:
    """The head at the start of `data`; None if it is not complete, longer than `MAX_HEAD_BYTES`, or not plain."""
    found = _HEAD.match(data, 0, MAX_HEAD_BYTES)
    if found is None:
        return None
    method, path, lines = found.groups()
    fields_and_length = _read_lines_again(lines) if len(lines) <= MAX_CACHED_BYTES else _read_lines(lines)
    if fields_and_length is None:
        return None
    fields, length = fields_and_length
    body_start = found.end()
    return PlainHead(method.decode(), path.decode(), fields, body_start, body_start + length)


def _read_lines(lines: bytes) -> tuple[Mapping[str, str], int] | None:
    """The fields and the length of the body."""
    pairs = _FIELD.findall(lines.decode("latin-1"))
    fields = {name.lower(): value.rstrip("\t ") for name, value in pairs}
    if len(fields) != len(pairs) or not _NOT_PLAIN.isdisjoint(fields):
        return None
    # "keep-alive" is what HTTP/1.1 does anyway (RFC 9112 §9.3).
    if fields.get("connection", "keep-alive").lower() != "keep-alive":
        return None
    if not PLAIN_HOST.fullmatch(fields.get("host", "")):
        return None
    length = fields.get("content-length", "0")
    if not (length.isascii() and length.isdigit()) or len(length) > _MAX_LENGTH_DIGITS:
        return None
    return fields, int(length)


_read_lines_again = functools.lru_cache(maxsize=1_000)(_read_lines)
"""The same for lines that may come again: a client sends the same headers with each of its requests."""
