"""Maps errors to problems: status, type, title and members of `application/problem+json` (RFC 9457). No I/O."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tornado.web import HTTPError

from models.errors import (
    MAX_LISTED_ERRORS,
    BacklogFullError,
    CommitUnknownError,
    InvalidOrderError,
    NotJsonError,
    OrderArchivedError,
    OrderConflictError,
    QueueClosedError,
    QueueFullError,
    StorageBusyError,
    StorageDamagedError,
    StorageUnavailableError,
    WrongStatusError,
)

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
"""The Retry-After header of temporary errors, in seconds."""
REPAIR_RETRY_AFTER_S = 60
"""The Retry-After header of errors that last until an operator has repaired the database, in seconds."""


class ProblemType(NamedTuple):
    """One problem type. Its URI is `/problems/<slug>`, and its responses have the HTTP status `status`."""

    status: int
    slug: str
    title: str


NOT_JSON = ProblemType(400, "not-json", "The body is not JSON")
BAD_REQUEST = ProblemType(400, "bad-request", "The request can't be understood")
UNAUTHORIZED = ProblemType(401, "unauthorized", "An API key is needed here")
FORBIDDEN = ProblemType(403, "forbidden", "The API key does not allow it")
CROSS_ORIGIN = ProblemType(403, "cross-origin", "A page of another site may not do this")
NOT_FOUND = ProblemType(404, "not-found", "There is nothing here")
METHOD_NOT_ALLOWED = ProblemType(405, "method-not-allowed", "This resource does not know the method")
REQUEST_TIMEOUT = ProblemType(408, "request-timeout", "The request took too long to come")
CONFLICT = ProblemType(409, "order-conflict", "Another order has this id")
WRONG_STATUS = ProblemType(409, "wrong-status", "The order's status does not allow it")
TOO_LARGE = ProblemType(413, "too-large", "The body is too large")
UNSUPPORTED_MEDIA_TYPE = ProblemType(415, "unsupported-media-type", "The content type is not supported")
ORDER_ARCHIVED = ProblemType(410, "order-archived", "The order was archived")
MISDIRECTED_REQUEST = ProblemType(421, "misdirected-request", "The server does not serve this host")
INVALID_ORDER = ProblemType(422, "invalid-order", "The body is no valid order")
NOTHING_ACCEPTED = ProblemType(422, "nothing-accepted", "None of the orders was accepted")
INVALID_PARAMETER = ProblemType(422, "invalid-parameter", "The query of the URL is not valid")
RATE_LIMITED = ProblemType(429, "rate-limited", "Too many requests")
HEAD_TOO_LARGE = ProblemType(431, "head-too-large", "The head of the request is too large")
INTERNAL_ERROR = ProblemType(500, "internal-error", "Something went wrong here")
STORAGE_BUSY = ProblemType(503, "storage-busy", "The database is locked by another program")
STORAGE_UNAVAILABLE = ProblemType(503, "storage-unavailable", "The database can't be used")
STORAGE_DAMAGED = ProblemType(503, "storage-damaged", "A part of the database is damaged")
COMMIT_UNKNOWN = ProblemType(503, "commit-unknown", "The connection to the database broke")
OVERLOADED = ProblemType(503, "overloaded", "Too many requests are waiting")
STOPPING = ProblemType(503, "stopping", "The server is stopping")

_TEMPORARY: Mapping[type[Exception], tuple[ProblemType, str]] = {
    StorageBusyError: (STORAGE_BUSY, "Nothing was changed; try again."),
    StorageUnavailableError: (STORAGE_UNAVAILABLE, "Nothing was changed; try again later."),
    StorageDamagedError: (
        STORAGE_DAMAGED,
        "Nothing was changed. Trying again does not help until an operator has repaired the database. The log of the "
        "server has details.",
    ),
    CommitUnknownError: (
        COMMIT_UNKNOWN,
        "It is not known whether the change was made. Send the same request again: an order is not stored twice.",
    ),
    QueueFullError: (OVERLOADED, "Nothing was changed; try again."),
    BacklogFullError: (OVERLOADED, "Too many orders are Pending. Nothing was changed; try again later."),
    QueueClosedError: (STOPPING, "Nothing was changed; try again."),
}
TEMPORARY_ERRORS = tuple(_TEMPORARY)
"""After these errors, the same request can succeed if it is sent again."""
_KIND_BY_STATUS = {400: BAD_REQUEST, 404: NOT_FOUND, 405: METHOD_NOT_ALLOWED}


class Problem(HTTPError):
    """An error response. `members` are added to the JSON object of the problem, `headers` to the headers."""

    def __init__(
        self,
        kind: ProblemType,
        detail: str,
        *,
        members: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(kind.status)
        self.kind = kind
        self.detail = detail
        self.members = members or {}
        self.headers = headers or {}


def problem_for(error: BaseException | None, status: int = 500) -> Problem:
    """The error response to a request that fails with `error`.

    If `error` is unexpected or None, the response has the given `status` and no details.
    """
    match error:
        case Problem():
            return error
        case NotJsonError():
            return Problem(NOT_JSON, str(error))
        case InvalidOrderError():
            members = error_members([each._asdict() for each in error.errors], total=error.total)
            return Problem(INVALID_ORDER, str(error), members=members)
        case OrderConflictError():
            return Problem(CONFLICT, str(error))
        case OrderArchivedError():
            detail = f"Order {error.order_id} ended long ago, and was moved to the archive. Its id can't be used again."
            return Problem(ORDER_ARCHIVED, detail)
        case WrongStatusError():
            detail = f"Order {error.order_id} is {error.state}, not {error.needed}."
            return Problem(WRONG_STATUS, detail, members={"order_status": error.status})
        case (
            StorageBusyError()
            | StorageUnavailableError()
            | CommitUnknownError()
            | QueueFullError()
            | BacklogFullError()
            | QueueClosedError()
        ):
            kind, detail = _TEMPORARY[type(error)]
            retry_after_s = REPAIR_RETRY_AFTER_S if kind == STORAGE_DAMAGED else RETRY_AFTER_S
            return Problem(kind, detail, headers={"Retry-After": str(retry_after_s)})
        case HTTPError():
            status = error.status_code
    kind = _KIND_BY_STATUS.get(status, INTERNAL_ERROR if status >= 500 else BAD_REQUEST)
    return Problem(kind, kind.title + ".")


def error_members(errors: Sequence[Mapping[str, str]], *, total: int | None = None) -> dict[str, Any]:
    """The members `errors`, a list of at most `MAX_LISTED_ERRORS` errors, and `errors_total`, the number of all errors.

    Without `total`, this number is the length of `errors`.
    """
    return {"errors": errors[:MAX_LISTED_ERRORS], "errors_total": len(errors) if total is None else total}


def problem_members(problem: Problem, *, instance: str, request_id: str) -> dict[str, Any]:
    """The JSON object of the response. `instance` is the path of the request."""
    return {
        "type": f"/problems/{problem.kind.slug}",
        "title": problem.kind.title,
        "status": problem.kind.status,
        "detail": problem.detail,
        "instance": instance,
        "request_id": request_id,
        **problem.members,
    }
