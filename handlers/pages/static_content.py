"""Responses that stay the same while the server runs. Runs on the event loop."""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from handlers.problems.problem import NOT_FOUND, Problem
from handlers.requests.base_handler import BaseHandler
from handlers.transport.in_flight import InFlightRequests

CACHE_CONTROL = "no-cache"
"""Caches must revalidate a stored copy each time, and get a 304 if it is current."""
POLICY = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
"""A page may load from this server only, and may contain no inline script."""
HEADERS: Mapping[str, str] = {
    "Cache-Control": CACHE_CONTROL,
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
}
"""The headers of every response that a browser shows or stores."""


class StaticContent(NamedTuple):
    """A body, its media type, its ETag, and the other headers of its response."""

    body: bytes
    content_type: str
    etag: str
    headers: Mapping[str, str] = HEADERS


def with_etag(body: bytes, content_type: str, headers: Mapping[str, str] = HEADERS) -> StaticContent:
    """The body with an ETag computed from it."""
    return StaticContent(body, content_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"', headers)


class _ContentHandler(BaseHandler):
    """A handler that responds with a StaticContent."""

    _etag: str | None = None

    def compute_etag(self) -> str | None:
        return self._etag

    def _respond(self, content: StaticContent) -> None:
        self._etag = content.etag
        self.set_header("Content-Type", content.content_type)
        for name, value in content.headers.items():
            self.set_header(name, value)
        if self._in_flight.draining:
            self.set_header("Connection", "close")
        self.finish(content.body)


class StaticContentHandler(_ContentHandler):
    """Responds with `content`, or with 304 if the client has it."""

    def initialize(self, *, in_flight: InFlightRequests, content: StaticContent) -> None:
        self._count_in_flight(in_flight=in_flight)
        self._content = content

    def get(self) -> None:
        self._respond(self._content)

    head = get


class StaticFilesHandler(_ContentHandler):
    """Responds with the one of `files` that the URL names, or with 304 if the client has it."""

    def initialize(self, *, in_flight: InFlightRequests, files: Mapping[str, StaticContent]) -> None:
        self._count_in_flight(in_flight=in_flight)
        self._files = files

    def get(self, name: str) -> None:
        content = self._files.get(name)
        if content is None:
            raise Problem(NOT_FOUND, f"There is nothing at {self.request.path}.")
        self._respond(content)

    head = get
