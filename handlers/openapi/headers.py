"""The headers of answers, described once and referred to by name. Pure."""

from collections.abc import Iterable, Mapping

from handlers.openapi.schemas import Schema

_TEXT: Schema = {"type": "string"}

HEADERS: Mapping[str, Schema] = {
    "X-Request-Id": {
        "description": "The id that the client gave the request, if it is 1 to 128 visible ASCII characters, or a new "
        "one.",
        "required": True,
        "schema": _TEXT,
    },
    "Location": {"description": "Where the order is.", "required": True, "schema": _TEXT},
    "Idempotent-Replayed": {
        "description": "There if the same order had been accepted before.",
        "schema": {"const": "true"},
    },
    "Preference-Applied": {
        "description": "`wait=5`: for how long it waited at most.",
        "required": True,
        "schema": _TEXT,
    },
    "Link": {"description": 'The next page, `rel="next"`, where there is one.', "schema": _TEXT},
    "Vary": {"description": "What else the answer depends on.", "required": True, "schema": _TEXT},
    "ETag": {"description": "Changes with what is answered.", "required": True, "schema": _TEXT},
    "Cache-Control": {"description": "How long a copy may be used.", "required": True, "schema": _TEXT},
    "Allow": {"description": "The methods that the path knows.", "required": True, "schema": _TEXT},
    "Retry-After": {
        "description": "After how many seconds to try again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {"description": "What is wanted (RFC 6750).", "required": True, "schema": _TEXT},
    "RateLimit": {"description": "What is left, where the server limits requests.", "schema": _TEXT},
    "RateLimit-Policy": {"description": "The limit, where the server limits requests.", "schema": _TEXT},
}
ALWAYS = ("X-Request-Id",)
IF_LIMITED = ("RateLimit", "RateLimit-Policy")
"""On every answer where requests are limited at all."""


def header_references(names: Iterable[str]) -> dict[str, Schema]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
