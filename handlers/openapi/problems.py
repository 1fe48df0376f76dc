"""Describes error responses: a schema for each problem type, and a response for each status. Pure functions."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from handlers.openapi.headers import HEADERS, header_references
from handlers.openapi.schemas import COUNT, Schema, properties_of
from handlers.problems import problem as problems
from handlers.problems.problem import (
    BAD_REQUEST,
    COMMIT_UNKNOWN,
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
    STORAGE_DAMAGED,
    STORAGE_UNAVAILABLE,
    TOO_LARGE,
    UNAUTHORIZED,
    WRONG_STATUS,
    ProblemType,
)
from models.errors import MAX_LISTED_ERRORS
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
"""Problems of every path that is limited, if the server has a rate limit."""
STORAGE = (STORAGE_BUSY, STORAGE_UNAVAILABLE, STORAGE_DAMAGED, COMMIT_UNKNOWN, OVERLOADED, STOPPING)
"""Problems of every path that reads or writes orders."""
ACTION = (CROSS_ORIGIN,)
"""Problems of every action (cancel, retry, pause, resume). Pages of other sites are not allowed to send actions."""
PARTLY_SENT = "PartlySentProblem"
"""The name of the schema of a 503 after some orders were stored. Members of the 503 count these orders."""
PARTLY_RETRIED = "PartlyRetriedProblem"
"""The name of the schema of a 503 after some orders were retried. A member of the 503 counts these orders."""
_HEADERS: Mapping[int, Sequence[str]] = {
    401: ["WWW-Authenticate"],
    403: ["WWW-Authenticate"],
    405: ["Allow"],
    415: ["Accept", "Accept-Encoding"],
    429: ["Retry-After"],
    503: ["Retry-After"],
}


def _errors(item: str, description: str) -> Schema:
    """The members `errors`, a list of the schema `item`, and `errors_total`."""
    return {
        "errors": {
            "description": f"{description} At most {MAX_LISTED_ERRORS} are listed.",
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_LISTED_ERRORS,
            "items": {"$ref": f"#/components/schemas/{item}"},
        },
        "errors_total": {"description": "The number of all errors.", "type": "integer", "minimum": 1},
    }


def _error(locator: str) -> Schema:
    """The schema of an item of `errors`. Its member `locator` says where the error is."""
    properties = {locator: {"type": "string"}, "detail": {"type": "string"}}
    return {"type": "object", "properties": properties, "required": [locator, "detail"]}


def _members_of(kind: ProblemType) -> Schema:
    """The schemas of the members that this problem type has in addition to `_COMMON`."""
    if kind == INVALID_ORDER:
        return _errors("FieldError", "The errors. `pointer` is a JSON Pointer, such as `#/item_ids/0`.")
    if kind == INVALID_PARAMETER:
        return _errors("ParameterError", "The invalid query parameters.")
    if kind == WRONG_STATUS:
        return {"order_status": {"$ref": "#/components/schemas/Status"}}
    return properties_of("BulkView") if kind == NOTHING_ACCEPTED else {}


_EXAMPLES: Mapping[ProblemType, Schema] = {
    INVALID_ORDER: {
        "errors": [{"pointer": "#/item_ids/0", "detail": f"must be an integer from 1 to {MAX_ID}"}],
        "errors_total": 1,
    },
    INVALID_PARAMETER: {"errors": [{"parameter": "colour", "detail": "is not known here"}], "errors_total": 1},
    WRONG_STATUS: {"order_status": "Completed"},
    NOTHING_ACCEPTED: {
        "accepted": 0,
        "duplicates": 0,
        "rejected": [{"index": 0, "order_id": 12345, "status": 409, "detail": f"{CONFLICT.title}."}],
        "rejected_total": 1,
        "refused_total": 0,
    },
}
"""For each problem type: an example of the members that this type has in addition to `_COMMON`."""
_DESCRIPTION = "An error (RFC 9457). `type` identifies its kind, `detail` is for people."
_COMMON: Schema = {
    "detail": {"type": "string"},
    "instance": {"description": "The path of the request.", "type": "string"},
    "request_id": {"description": "The same as the header X-Request-Id.", "type": "string"},
}
"""The members that have the same schema in every problem."""


def schema_name(kind: ProblemType) -> str:
    """The name of the schema of a problem type, such as `NotFoundProblem` for `not-found`."""
    return "".join(word.capitalize() for word in kind.slug.split("-")) + "Problem"


def schemas_of_problems() -> dict[str, Schema]:
    """The schemas of each problem type, of the items of `errors`, and of the problems that contain a partial result."""
    kinds = [value for value in vars(problems).values() if isinstance(value, ProblemType)]
    return {schema_name(kind): _schema_of(kind) for kind in kinds} | {
        "FieldError": _error("pointer"),
        "ParameterError": _error("parameter"),
        PARTLY_SENT: _schema(STORAGE, properties_of("BulkView"), are_required=False),
        PARTLY_RETRIED: _schema(STORAGE, {"retried": COUNT}, are_required=False),
    }


def _schema_of(kind: ProblemType) -> Schema:
    example = {
        "type": f"/problems/{kind.slug}",
        "title": kind.title,
        "status": kind.status,
        "detail": f"{kind.title}.",
        "instance": "/order/12345",
        "request_id": "1f0c9a75e1d3b286",
        **_EXAMPLES.get(kind, {}),
    }
    return _schema([kind], _members_of(kind), are_required=True) | {"examples": [example]}


def _schema(kinds: Sequence[ProblemType], members: Schema, *, are_required: bool) -> Schema:
    """The schema of problems of these types, which have one status. `members` are added to the members in `_COMMON`.

    Does not use `allOf`: if a schema narrows the type of a member with `allOf`, code generators drop this schema.
    """
    [status] = {kind.status for kind in kinds}
    types, titles = [f"/problems/{kind.slug}" for kind in kinds], [kind.title for kind in kinds]
    own: Schema = {
        "type": {"type": "string"} | ({"enum": types} if len(types) > 1 else {"const": types[0]}),
        "title": {"type": "string"} | ({} if len(titles) > 1 else {"const": titles[0]}),
        "status": {"type": "integer", "const": status},
    }
    return {
        "description": f"{' / '.join(titles)}. {_DESCRIPTION}",
        "type": "object",
        "properties": own | _COMMON | members,
        "required": [*own, *_COMMON, *(members if are_required else ())],
    }


def responses_of_problems(kinds: Iterable[ProblemType]) -> dict[str, Any]:
    """The responses for these problem types, by status."""
    ordered = sorted(set(kinds))
    return {str(status): _response(list(group)) for status, group in groupby(ordered, lambda kind: kind.status)}


def _response(kinds: list[ProblemType]) -> dict[str, Any]:
    references: list[Schema] = [{"$ref": f"#/components/schemas/{schema_name(kind)}"} for kind in kinds]
    headers = header_references(["X-Request-Id", *_HEADERS.get(kinds[0].status, [])])
    if CROSS_ORIGIN in kinds:
        # A 403 because of CROSS_ORIGIN has no WWW-Authenticate, because an API key would not help.
        headers["WWW-Authenticate"] = HEADERS["WWW-Authenticate"] | {"required": False}
    return {
        "description": " / ".join(kind.title for kind in kinds),
        "headers": headers,
        "content": {CONTENT_TYPE: {"schema": references[0] if len(kinds) == 1 else {"anyOf": references}}},
    }
