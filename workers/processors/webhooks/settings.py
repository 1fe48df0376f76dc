"""The settings of webhooks. An immutable value and pure functions, used on the main thread."""

import urllib.parse

import msgspec

from workers.processors.webhooks.headers import Headers
from workers.processors.webhooks.secrets import SecretSource

TIMEOUT_S = 15.0
CONNECTIONS = 64


class WebhookSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where deliveries go, and what they contain in addition to the order.

    If there are several secrets, each delivery has one signature for each secret. An attempt takes at most `timeout_s`
    seconds. At most `connections` orders are sent at a time.
    """

    url: str
    secrets: SecretSource
    headers: Headers = ()
    timeout_s: float = TIMEOUT_S
    connections: int = CONNECTIONS


def check_url(text: str) -> str:
    """Returns the text. Raises ValueError if it is not a valid URL of a receiver."""
    if not _is_http_url(text) or not text.isprintable() or " " in text:
        raise ValueError("must be an http:// or https:// URL, without a user name or a password")
    return text


def _is_http_url(text: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        return False
    return parts.netloc.isascii()  # libcurl is built without support for other names
