"""Answers that are the same as long as the server runs. Runs on the event loop."""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from handlers.problems.problem import NOT_FOUND, Problem
from handlers.transport.base_handler import BaseHandler
from handlers.transport.in_flight import InFlightRequests

CACHE_CONTROL = "no-cache"
"""A copy is asked about each time, which costs a 304."""
POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
"""What a page may load: nothing from elsewhere, and no script that stands in the page itself."""
HEADERS: Mapping[str, str] = {
    "Cache-Control": CACHE_CONTROL,
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
}
"""What is said of a thing that a browser shows or keeps."""


class StaticContent(NamedTuple):
    """A body, its media type, the ETag that changes with it, and what else is said of it."""

    body: bytes
    content_type: str
    etag: str
    headers: Mapping[str, str] = HEADERS


def with_etag(body: bytes, content_type: str, headers: Mapping[str, str] = HEADERS) -> StaticContent:
    """The body with its ETag."""
    return StaticContent(body, content_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"', headers)


class _Answering(BaseHandler):
    """What the two below do alike."""

    _etag: str | None = None

    def compute_etag(self) -> str | None:
        return self._etag

    def _answer(self, content: StaticContent) -> None:
        self._etag = content.etag
        self.set_header("Content-Type", content.content_type)
        for name, value in content.headers.items():
            self.set_header(name, value)
        if self._in_flight.draining:
            self.set_header("Connection", "close")
        self.finish(content.body)


class StaticContentHandler(_Answering):
    """Answers with the same bytes each time, or with 304 where the client has them."""

    def initialize(self, *, in_flight: InFlightRequests, content: StaticContent) -> None:
        self._join(in_flight=in_flight)
        self._content = content

    def get(self) -> None:
        self._answer(self._content)

    head = get


class StaticFilesHandler(_Answering):
    """Answers so with that of `files` which the URL names."""

    def initialize(self, *, in_flight: InFlightRequests, files: Mapping[str, StaticContent]) -> None:
        self._join(in_flight=in_flight)
        self._files = files

    def get(self, name: str) -> None:
        content = self._files.get(name)
        if content is None:
            raise Problem(NOT_FOUND, f"There is nothing at {self.request.path}.")
        self._answer(content)

    head = get
