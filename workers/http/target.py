"""Where requests go. Pure functions, and an immutable value; usable on any thread."""

import urllib.parse

from msgspec import Struct

_UNCHANGED = "!#$%&'()*+,/:;=?@[]~"
"""The characters that have a meaning in a URL. Letters, digits, `-`, `.`, `_` and `~` are never encoded either."""


class Target(Struct, frozen=True, kw_only=True):
    """Where requests go, and how long they can take: until the connection can be used, and in all."""

    url: str
    connect_timeout_s: float
    timeout_s: float

    @property
    def is_https(self) -> bool:
        return self.url[:6].lower() == "https:"


def encoded_url(text: str) -> str:
    """The URL with percent-encoding in place of all characters that a URL can't contain."""
    return urllib.parse.quote(text, safe=_UNCHANGED)
