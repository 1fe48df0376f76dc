"""The target of requests. Pure functions, and an immutable value; usable on any thread."""

import urllib.parse

from msgspec import Struct

_UNCHANGED = "!#$%&'()*+,/:;=?@[]~"
"""These characters are not encoded, because they have a meaning in a URL. Letters, digits, `-`, `.`, `_` and `~` are
not encoded either."""


class Target(Struct, frozen=True, kw_only=True):
    """The URL of requests, the time limit for a connection to be ready, and the time limit for a whole request."""

    url: str
    connect_timeout_s: float
    timeout_s: float

    @property
    def is_https(self) -> bool:
        return self.url[:6].lower() == "https:"


def encoded_url(text: str) -> str:
    """The URL in which all characters that a URL can't contain are percent-encoded."""
    return urllib.parse.quote(text, safe=_UNCHANGED)
