"""The request headers that are stored with an order and sent with its webhook. Pure functions; usable on any thread."""

import re
from collections.abc import Mapping

import msgspec

TRACEPARENT = "traceparent"
REQUEST_ID = "x-request-id"
REQUEST_ID_HEADER = "X-Request-Id"
"""The key of the request id in the result of `read_trace_headers`."""

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""The format of the header `traceparent`: https://www.w3.org/TR/trace-context/#traceparent-header"""
_REQUEST_ID = re.compile(r"[!-~]{1,128}")
_decode = msgspec.json.Decoder(dict[str, str]).decode


def is_request_id(text: str) -> bool:
    """Whether the text is a valid X-Request-Id: 1 to 128 visible ASCII characters."""
    return _REQUEST_ID.fullmatch(text) is not None


def trace_headers_in(headers: Mapping[str, str]) -> str | None:
    """The valid `traceparent` and X-Request-Id headers of a request, as a JSON object; None if it has neither.

    `headers` must find the value of a header by its name in lower case.
    """
    found = {}
    if (traceparent := headers.get(TRACEPARENT)) and _TRACEPARENT.fullmatch(traceparent):
        found["traceparent"] = traceparent
    if (request_id := headers.get(REQUEST_ID)) and is_request_id(request_id):
        found[REQUEST_ID_HEADER] = request_id
    return msgspec.json.encode(found).decode() if found else None


def read_trace_headers(text: str) -> dict[str, str]:
    """The names and values of the headers in a text that `trace_headers_in` returned."""
    return _decode(text)
