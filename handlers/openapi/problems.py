"""Describes error responses: a schema for each problem type, and a response for each status. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from handlers.openapi.headers import HEADERS, header_references
from handlers.openapi.schemas import Schema
from handlers.orders.bulk_view import BulkView
from handlers.problems import problem as problems
from handlers.problems.problem import (
    BAD_REQUEST,
    CONFLICT,
    CONTENT_TYPE,
    CROSS_ORIGIN,
    FORBIDDEN,
    HEAD_TOO_LARGE,
    INTERNAL_ERROR,
    INVALID_ORDER,
    INVALID_PARAMETER,
    METHOD_NOT_ALLOWED,
    MISDIRECTED_REQUEST,
    NOTHING_ACCEPTED,
    OVERLOADED,
    RATE_LIMITED,
    REQUEST_TIMEOUT,
    STOPPING,
    STORAGE_BUSY,
    STORAGE_UNAVAILABLE,
    TOO_LARGE,
    UNAUTHORIZED,
    WRONG_STATUS,
    ProblemType,
)
from models.parsing.order_body import MAX_ID

ON_EVERY_PATH = (
    BAD_REQUEST,
    METHOD_NOT_ALLOWED,
    REQUEST_TIMEOUT,
    TOO_LARGE,
    MISDIRECTED_REQUEST,
    HEAD_TOO_LARGE,
    INTERNAL_ERROR,
)
"""Problems of every path."""
WITH_API_KEYS = (UNAUTHORIZED, FORBIDDEN)
"""Problems of every path that needs a key, if the server has API keys."""
WITH_LIMIT = (RATE_LIMITED,)
"""Problems of every path with a rate limit, if the server has one."""
STORAGE = (STORAGE_BUSY, STORAGE_UNAVAILABLE, OVERLOADED, STOPPING)
"""Problems of every path that reads or writes orders."""
ACTION = (CROSS_ORIGIN,)
"""Problems of every action, which pages of other sites may not send."""
_HEADERS: Mapping[int, Sequence[str]] = {
    401: ["WWW-Authenticate"],
    403: ["WWW-Authenticate"],
    405: ["Allow"],
    415: ["Accept", "Accept-Encoding"],
    429: ["Retry-After"],
    503: ["Retry-After"],
}


def _errors(locator: str, description: str) -> Schema:
    """The member `errors`. The member `locator` of each item says where the error is."""
    item = {
        "type": "object",
        "properties": {locator: {"type": "string"}, "detail": {"type": "string"}},
        "required": [locator, "detail"],
    }
    return {"errors": {"description": description, "type": "array", "minItems": 1, "items": item}}


_MEMBERS: Mapping[ProblemType, Schema] = {
    INVALID_ORDER: _errors("pointer", "All errors. `pointer` is a JSON Pointer, such as `#/item_ids/0`."),
    INVALID_PARAMETER: _errors("parameter", "All invalid query parameters."),
    WRONG_STATUS: {"order_status": {"$ref": "#/components/schemas/Status"}},
    NOTHING_ACCEPTED: {
        name: {"$ref": f"#/components/schemas/BulkView/properties/{name}"} for name in BulkView.__struct_fields__
    },
}
"""The additional members of a problem type."""
_EXAMPLES: Mapping[ProblemType, Schema] = {
    INVALID_ORDER: {"errors": [{"pointer": "#/item_ids/0", "detail": f"must be an integer from 1 to {MAX_ID}"}]},
    INVALID_PARAMETER: {"errors": [{"parameter": "colour", "detail": "is not known here"}]},
    WRONG_STATUS: {"order_status": "Completed"},
    NOTHING_ACCEPTED: {
        "accepted": 0,
        "duplicates": 0,
        "rejected": [{"index": 0, "order_id": 12345, "status": 409, "detail": f"{CONFLICT.title}."}],
        "rejected_total": 1,
    },
}
"""Examples of these members."""
_PROBLEM: Schema = {
    "description": "An error (RFC 9457). `type` identifies its kind, `detail` is for people.",
    "type": "object",
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "pattern": "^/problems/"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "instance": {"description": "The path of the request.", "type": "string"},
        "request_id": {"description": "The same as the header X-Request-Id.", "type": "string"},
    },
    "required": ["type", "title", "status", "detail", "instance", "request_id"],
}


def schema_name(kind: ProblemType) -> str:
    """`NotFoundProblem` for the problem type `not-found`."""
    return "".join(word.capitalize() for word in kind.slug.split("-")) + "Problem"


def schemas_of_problems() -> dict[str, Schema]:
    """`Problem`, and one schema for each problem type."""
    kinds = [value for value in vars(problems).values() if isinstance(value, ProblemType)]
    return {"Problem": _PROBLEM} | {schema_name(kind): _schema_of(kind) for kind in kinds}


def _schema_of(kind: ProblemType) -> Schema:
    members = _MEMBERS.get(kind, {})
    own: Schema = {
        "properties": {
            "type": {"const": f"/problems/{kind.slug}"},
            "title": {"const": kind.title},
            "status": {"const": kind.status},
            **members,
        }
    }
    if members:
        own["required"] = list(members)
    example = {
        "type": f"/problems/{kind.slug}",
        "title": kind.title,
        "status": kind.status,
        "detail": f"{kind.title}.",
        "instance": "/order/12345",
        "request_id": "1f0c9a75e1d3b286",
        **_EXAMPLES.get(kind, {}),
    }
    return {"title": kind.title, "allOf": [{"$ref": "#/components/schemas/Problem"}, own], "examples": [example]}


def responses_of_problems(kinds: Iterable[ProblemType]) -> dict[str, Any]:
    """The responses for these problem types, by status."""
    ordered = sorted(set(kinds))
    return {str(status): _response(list(group)) for status, group in groupby(ordered, lambda kind: kind.status)}


def _response(kinds: list[ProblemType]) -> dict[str, Any]:
    references: list[Schema] = [{"$ref": f"#/components/schemas/{schema_name(kind)}"} for kind in kinds]
    headers = header_references(["X-Request-Id", *_HEADERS.get(kinds[0].status, [])])
    if CROSS_ORIGIN in kinds:
        # This 403 has no challenge, because a key would not help.
        headers["WWW-Authenticate"] = HEADERS["WWW-Authenticate"] | {"required": False}
    return {
        "description": " / ".join(kind.title for kind in kinds),
        "headers": headers,
        "content": {CONTENT_TYPE: {"schema": references[0] if len(kinds) == 1 else {"anyOf": references}}},
    }
