"""Responses that stay the same while the server runs, sent from memory. Runs on the event loop."""

import gzip
import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple

from handlers.problems.problem import NOT_FOUND, Problem
from handlers.requests.base_handler import BaseHandler
from handlers.transport.in_flight import InFlightRequests
from handlers.transport.plain_head import PlainHead
from handlers.transport.plain_request import PlainRequest
from handlers.transport.responses import CLOSE

CACHE_CONTROL = "no-cache"
"""Before a cache uses a stored copy, it must ask the server, which responds with 304 if the copy is current."""
POLICY = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
"""Pages may load files only from this server, and must not contain inline scripts."""
HEADERS: Mapping[str, str] = {
    "Cache-Control": CACHE_CONTROL,
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
}
"""The headers of every response with a StaticContent."""
COMPRESSION_LEVEL = 6
MAX_ACCEPT_ENCODING_CHARACTERS = 1_000
"""A longer Accept-Encoding header is ignored, because parsing it would take too long."""
_QUALITY = re.compile(r"[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*", re.IGNORECASE)


class Representation(NamedTuple):
    """The bytes of a body, and the ETag and the other headers that belong to these bytes."""

    body: bytes
    etag: str
    headers: Mapping[str, str]


class StaticContent(NamedTuple):
    """A body, uncompressed and compressed. `gzipped` is None if compression does not make the body shorter."""

    content_type: str
    plain: Representation
    gzipped: Representation | None

    def accepted(self, accept_encoding: str) -> Representation:
        """The representation for a request with this Accept-Encoding header."""
        return self.gzipped if self.gzipped and accepts_gzip(accept_encoding) else self.plain


def static_content(body: bytes, content_type: str, headers: Mapping[str, str] = HEADERS) -> StaticContent:
    """Compresses the body. Both representations, with and without compression, get an ETag and `headers`."""
    digest = hashlib.sha256(body).hexdigest()[:32]
    headers = {**headers, "Content-Type": content_type, "Vary": "Accept-Encoding"}
    compressed = _compressed(body)
    gzipped = None
    if len(compressed) < len(body):
        gzipped = Representation(compressed, f'"{digest}-gzip"', {**headers, "Content-Encoding": "gzip"})
    return StaticContent(content_type, Representation(body, f'"{digest}"', headers), gzipped)


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header accepts gzip and does not prefer an uncompressed body (RFC 9110 §12.5.3)."""
    if len(accept_encoding) > MAX_ACCEPT_ENCODING_CHARACTERS:
        return False
    qualities: dict[str, float] = {}
    for item in accept_encoding.lower().split(","):
        coding, semicolon, parameter = item.partition(";")
        found = _QUALITY.fullmatch(parameter)
        qualities[coding.strip()] = float(found[1]) if found else float(not semicolon)
    quality = qualities.get("gzip", qualities.get("x-gzip", qualities.get("*", 0.0)))
    return quality > 0 and quality >= qualities.get("identity", 0.0)


# Cached because compressing all files takes 60 ms, and the tests start many servers in one process.
@lru_cache
def _compressed(body: bytes) -> bytes:
    return gzip.compress(body, COMPRESSION_LEVEL, mtime=0)


class _ContentHandler(BaseHandler):
    """A handler that responds with a StaticContent."""

    _etag: str | None = None

    def compute_etag(self) -> str | None:
        return self._etag

    def _respond(self, content: StaticContent) -> None:
        body, self._etag, headers = content.accepted(self.request.headers.get("Accept-Encoding", ""))
        for name, value in headers.items():
            self.set_header(name, value)
        if self._in_flight.draining:
            self.set_header("Connection", "close")
        self.set_etag_header()
        if self.check_etag_header():
            self.set_status(HTTPStatus.NOT_MODIFIED)
            self.finish()
            return
        self.set_header("Content-Length", len(body))
        # Sends the headers first, because Tornado would otherwise copy the body to append it to the headers.
        self.flush()
        self.finish(body)


class StaticContentHandler(_ContentHandler):
    """Responds with `content`, or with 304 if the client already has it."""

    def initialize(self, *, in_flight: InFlightRequests, content: StaticContent) -> None:
        self._count_in_flight(in_flight=in_flight)
        self._content = content

    def get(self) -> None:
        self._respond(self._content)

    head = get


class StaticFilesHandler(_ContentHandler):
    """Responds with the file that the URL names, or with 304 if the client already has it."""

    def initialize(self, *, in_flight: InFlightRequests, files: Mapping[str, StaticContent]) -> None:
        self._count_in_flight(in_flight=in_flight)
        self._files = files

    def get(self, name: str) -> None:
        content = self._files.get(name)
        if content is None:
            raise Problem(NOT_FOUND, f"There is nothing at {self.request.path}.")
        self._respond(content)

    head = get


class PlainContent:
    """Responds with `content` on the plain lane, so that many clients that request files at once delay nobody."""

    def __init__(self, content: StaticContent) -> None:
        self._content = content

    def takes(self, head: PlainHead) -> bool:
        """False for conditional requests. Tornado serves these; their responses are short."""
        return "if-none-match" not in head.fields

    def serve(self, request: PlainRequest) -> None:
        body, etag, headers = self._content.accepted(request.head.fields.get("accept-encoding", ""))
        headers = {**headers, **(CLOSE if request.is_draining else {}), "Etag": etag}
        request.respond_as_handler(self._content.content_type, headers, body)
