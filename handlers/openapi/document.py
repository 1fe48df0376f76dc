"""The whole document. Pure."""

import functools
from collections.abc import Mapping

import msgspec

from handlers.openapi.headers import HEADERS
from handlers.openapi.order_paths import order_paths
from handlers.openapi.orders_paths import orders_paths
from handlers.openapi.other_paths import other_paths
from handlers.openapi.page_paths import page_paths
from handlers.openapi.problems import schemas_of_problems
from handlers.openapi.schemas import Schema, schemas_of_types

_DESCRIPTION = """\
An order backend: a `202` means that the order is on disk, and every order that got one is processed.

- An order goes from Pending through Processing to Completed or Failed, or is Cancelled before. Times are UTC.
- Every error is `application/problem+json` (RFC 9457), with the same members everywhere.
- Amounts are exact decimals and JSON numbers; ids go up to 2^63 - 1, more than a JavaScript number holds.
- HEAD is answered wherever GET is, except for the streams of events.
- Where the server runs with API keys, every path but `/livez`, `/readyz` and the page of the dashboard wants one: a key
  with the scope `read` for GET, `write` for POST, `admin` for `POST /orders/retry`.
"""
_TAGS = {
    "One order": "Send it, ask what has become of it, cancel it, have it tried again.",
    "Many orders": "The same for many at once, and following what becomes of them.",
    "Metrics": "How it goes, for people and for Prometheus.",
    "Health": "For load balancers; without a key, and without a limit to requests.",
    "Dashboard": "The same as a page, without a key but for what it shows.",
    "Documentation": "What the API is.",
}

_REQUEST_ID: Schema = {
    "name": "X-Request-Id",
    "in": "header",
    "description": "An id for this request, of 1 to 128 visible ASCII characters; any other is replaced.",
    "schema": {"type": "string"},
}
_BEARER: Schema = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key, where the server was started with `--api-keys`.",
}


def document(*, version: str, dashboard_files: Mapping[str, str]) -> bytes:
    """The OpenAPI 3.1 document as JSON; `version` is the server's, `dashboard_files` has media types by name."""
    return _rendered(version, tuple(dashboard_files.items()))


# However many servers there are in a process, as in the tests: it takes some milliseconds.
@functools.cache
def _rendered(version: str, dashboard_files: tuple[tuple[str, str], ...]) -> bytes:
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "Orders", "version": version, "description": _DESCRIPTION},
            "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
            # With keys or without, as the server was started.
            "security": [{}, {"bearer": []}],
            "paths": order_paths() | orders_paths() | other_paths() | page_paths(dict(dashboard_files)),
            "components": {
                "schemas": dict(sorted((schemas_of_types() | schemas_of_problems()).items())),
                "headers": dict(HEADERS),
                "parameters": {"X-Request-Id": _REQUEST_ID},
                "securitySchemes": {"bearer": _BEARER},
            },
        }
    )
