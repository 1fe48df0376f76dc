"""Builds the OpenAPI document from its parts. Pure functions."""

import functools
from collections.abc import Mapping

import msgspec

from handlers.openapi.headers import HEADERS
from handlers.openapi.health_paths import health_paths
from handlers.openapi.metrics_paths import metrics_paths
from handlers.openapi.order_paths import order_paths
from handlers.openapi.orders_paths import orders_paths
from handlers.openapi.page_paths import page_paths
from handlers.openapi.problems import schemas_of_problems
from handlers.openapi.processing_paths import processing_paths
from handlers.openapi.schemas import Schema, schemas_of_types

_DESCRIPTION = """\
An order backend: a `202` means that the order is on disk, and every such order is processed.

- An order changes from Pending to Processing, and then to Completed or Failed. A Pending order can be Cancelled. Times
  are UTC.
- Every error is `application/problem+json` (RFC 9457), with the same members on every path.
- Amounts are exact decimals, sent as JSON numbers. Ids go up to 2^63 - 1, more than a JavaScript number holds.
- Every path with GET has HEAD, too, except for event streams.
- If the server runs with API keys, every path except `/livez`, `/readyz` and the pages (dashboard and documentation)
  needs one: with the scope `read` for GET, `write` for POST, and `admin` for `POST /orders/retry`,
  `POST /order/{order_id}/erase` and `POST /processing/…`.
"""
_TAGS = {
    "One order": "Send, find, cancel and retry an order.",
    "Many orders": "Send, list, retry and follow many orders.",
    "Metrics": "Metrics as JSON, for Prometheus and as events.",
    "Health": "Probes for load balancers. Need no key and have no rate limit.",
    "Processing": "Pause and resume the processing of all orders.",
    "Dashboard": "Metrics and orders in the browser. The page needs no key, but the data that it shows does.",
    "Documentation": "This document, as JSON and as a page. Neither needs a key.",
}

_REQUEST_ID: Schema = {
    "name": "X-Request-Id",
    "in": "header",
    "description": "An id for this request: 1 to 128 visible ASCII characters. Any other value is replaced.",
    "schema": {"type": "string"},
}
_BEARER: Schema = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key of this server.",
}


def document(*, version: str, dashboard_files: Mapping[str, str], has_keys: bool) -> bytes:
    """The OpenAPI 3.1 document as JSON. `has_keys` says whether the server requires API keys.

    `version` is the version of the server. `dashboard_files` maps the names of the dashboard's files to media types.
    """
    return _rendered(version, tuple(dashboard_files.items()), has_keys)


# Cached because building the document takes some milliseconds, and the tests start many servers in one process.
@functools.cache
def _rendered(version: str, dashboard_files: tuple[tuple[str, str], ...], has_keys: bool) -> bytes:
    security: Schema = {"security": [{"bearer": []}]} if has_keys else {}
    return msgspec.json.encode(
        security
        | {
            "openapi": "3.1.0",
            "info": {"title": "Orders", "version": version, "description": _DESCRIPTION},
            "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
            "paths": order_paths()
            | orders_paths()
            | metrics_paths()
            | health_paths()
            | processing_paths()
            | page_paths(dict(dashboard_files)),
            "components": {
                "schemas": dict(sorted((schemas_of_types() | schemas_of_problems()).items())),
                "headers": dict(HEADERS),
                "parameters": {"X-Request-Id": _REQUEST_ID},
            }
            | ({"securitySchemes": {"bearer": _BEARER}} if has_keys else {}),
        }
    )
