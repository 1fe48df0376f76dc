"""Answers that are the same as long as the server runs. Runs on the event loop."""

import hashlib
from typing import NamedTuple

from handlers.base import BaseHandler
from handlers.traffic import Traffic

CACHE_CONTROL = "no-cache"
"""A copy is asked about each time, which costs a 304."""
POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
"""What a page may load: nothing from elsewhere, and no script that stands in the page itself."""


class Fixed(NamedTuple):
    """A body, its media type, and the ETag that changes with it."""

    body: bytes
    content_type: str
    etag: str


def fixed(body: bytes, content_type: str) -> Fixed:
    return Fixed(body, content_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


class FixedHandler(BaseHandler):
    """Answers with the same bytes each time, or with 304 where the client has them."""

    def initialize(self, *, traffic: Traffic, content: Fixed) -> None:
        self._join(traffic=traffic)
        self._content = content

    def get(self) -> None:
        self.set_header("Content-Type", self._content.content_type)
        set_fixed_headers(self)
        if self._traffic.draining:
            self.set_header("Connection", "close")
        self.finish(self._content.body)

    head = get

    def compute_etag(self) -> str:
        return self._content.etag


def set_fixed_headers(handler: BaseHandler) -> None:
    """What is said of a thing that a browser shows or keeps."""
    handler.set_header("Cache-Control", CACHE_CONTROL)
    handler.set_header("Content-Security-Policy", POLICY)
    handler.set_header("X-Content-Type-Options", "nosniff")
