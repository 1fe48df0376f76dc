"""The headers of responses, defined once and referred to by name. Pure functions."""

from collections.abc import Iterable, Mapping

from handlers.openapi.schemas import Schema
from handlers.sse.metric_events import KEY_SCOPE

_TEXT: Schema = {"type": "string"}

HEADERS: Mapping[str, Schema] = {
    "X-Request-Id": {
        "description": "The id that the client sent, if it is 1 to 128 visible ASCII characters, otherwise a new one.",
        "required": True,
        "schema": _TEXT,
    },
    "Location": {"description": "The path of the order.", "required": True, "schema": _TEXT},
    "Idempotent-Replayed": {
        "description": "Present if the same order was accepted before.",
        "schema": {"const": "true"},
    },
    "Preference-Applied": {
        "description": "`wait=5`: the server waited up to 5 seconds.",
        "required": True,
        "schema": _TEXT,
    },
    "Link": {"description": 'The next page, `rel="next"`, if there is one.', "schema": _TEXT},
    "Vary": {"description": "The request headers that the response depends on.", "required": True, "schema": _TEXT},
    "ETag": {"description": "Changes whenever the content changes.", "required": True, "schema": _TEXT},
    "Cache-Control": {"description": "How the response may be cached.", "required": True, "schema": _TEXT},
    "Allow": {"description": "The methods of the path.", "required": True, "schema": _TEXT},
    "Accept": {"description": "The accepted media types, if the sent one is not accepted.", "schema": _TEXT},
    "Accept-Encoding": {
        "description": "The accepted content encodings, if the sent one is not accepted.",
        "schema": _TEXT,
    },
    "Retry-After": {
        "description": "How many seconds to wait before the next attempt.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {
        "description": "The required authentication (RFC 6750).",
        "required": True,
        "schema": _TEXT,
    },
    KEY_SCOPE: {
        "description": "The scope of the API key. `admin` if the server has no keys.",
        "required": True,
        "schema": {"enum": ["read", "write", "admin"]},
    },
    "RateLimit": {"description": "The remaining requests, if the server has a rate limit.", "schema": _TEXT},
    "RateLimit-Policy": {"description": "The rate limit, if the server has one.", "schema": _TEXT},
}
ALWAYS = ("X-Request-Id",)
"""The names of the headers of every response."""
WITH_RATE_LIMIT = ("RateLimit", "RateLimit-Policy")
"""The names of the headers of every response of a server with a rate limit."""


def header_references(names: Iterable[str]) -> dict[str, Schema]:
    """References to these headers, by name, for the `headers` of a response."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
