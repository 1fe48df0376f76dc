"""Describes the paths of one order. Pure functions."""

from handlers.openapi.operations import ORDER_ID, README_ORDER, operation, query, ref, response
from handlers.openapi.problems import ACTION, STORAGE
from handlers.openapi.schemas import Schema
from handlers.orders.preferences import MAX_WAIT_S
from handlers.problems.problem import (
    CONFLICT,
    INVALID_ORDER,
    INVALID_PARAMETER,
    NOT_FOUND,
    NOT_JSON,
    ORDER_ARCHIVED,
    UNSUPPORTED_MEDIA_TYPE,
    WRONG_STATUS,
)

_TAG = "One order"
README_ORDER_VIEW: Schema = README_ORDER | {
    "status": "Completed",
    "created_time": "2025-03-01 12:00:00",
    "processed_time": "2025-03-01 12:00:00",
    "attempts": 1,
    "error": None,
    "processing_time": 0.004,
    "created_at": "2025-03-01T12:00:00.123456Z",
    "processed_at": "2025-03-01T12:00:00.127456Z",
    "next_attempt_at": None,
}
_PREFER: Schema = {
    "name": "Prefer",
    "in": "header",
    "description": "`wait=5` (RFC 7240): wait up to 5 seconds until the order is done, instead of getting a 202. "
    f"At most {MAX_WAIT_S} seconds.",
    "schema": {"type": "string"},
    "example": "wait=5",
}
_ACCEPTED: Schema = {
    "type": "object",
    "properties": {
        "message": {"type": "string"},
        "order_id": {"description": "A string in this response.", "type": "string", "pattern": "^[1-9][0-9]{0,18}$"},
    },
    "required": ["message", "order_id"],
}


def order_paths() -> dict[str, Schema]:
    """The operations, by path and method."""
    return {
        "/order": {"post": _send()},
        "/order/{order_id}": {"get": _get()},
        "/order/{order_id}/attempts": {"get": _attempts()},
        "/order/{order_id}/cancel": {"post": _cancel()},
        "/order/{order_id}/retry": {"post": _retry()},
        "/order/{order_id}/erase": {"post": _erase()},
    }


def _send() -> Schema:
    found = {"parameters": {"order_id": "$response.body#/order_id"}}
    return operation(
        "sendOrder",
        "Send an order",
        "Responds when the order is on disk. The same order again gets the same response, with `Idempotent-Replayed`; "
        "a different order with a known id gets 409. Neither changes what is stored. The body has at most 64 KiB. "
        "One byte-order mark before the body is skipped.",
        tag=_TAG,
        parameters=[_PREFER],
        body={"application/json": {"schema": ref("OrderBody"), "example": README_ORDER}},
        responses={
            "200": response(
                "With `Prefer: wait`: the order, if it is Completed, Failed or Cancelled in time.",
                json=ref("OrderView"),
                example=README_ORDER_VIEW,
                headers=["Location", "Idempotent-Replayed", "Preference-Applied"],
            ),
            "202": response(
                "The order is on disk and will be processed.",
                json=_ACCEPTED,
                example={"message": "Order processing initiated successfully", "order_id": "12345"},
                headers=["Location", "Idempotent-Replayed"],
                links={
                    "order": {"operationId": "getOrder", **found},
                    "attempts": {"operationId": "getAttempts", **found},
                    "cancel": {"operationId": "cancelOrder", **found},
                    "retry": {"operationId": "retryOrder", **found},
                },
            ),
        },
        problems=[NOT_JSON, CONFLICT, UNSUPPORTED_MEDIA_TYPE, INVALID_ORDER, *STORAGE],
    )


def _get() -> Schema:
    wait = query(
        "wait",
        {"type": "integer", "minimum": 0, "maximum": MAX_WAIT_S},
        "How many seconds to wait, at most, until the order is Completed, Failed or Cancelled.",
    )
    return operation(
        "getOrder",
        "Get an order",
        "The order as it is now. With `wait`, the response is sent when the order is Completed, Failed or Cancelled, "
        "or after that many seconds.",
        tag=_TAG,
        parameters=[ORDER_ID, wait],
        responses={"200": response("The order.", json=ref("OrderView"), example=README_ORDER_VIEW)},
        problems=[NOT_FOUND, ORDER_ARCHIVED, INVALID_PARAMETER, *STORAGE],
    )


def _attempts() -> Schema:
    attempt = {
        "number": 1,
        "started_at": "2025-03-01T12:00:00.123456Z",
        "ended_at": "2025-03-01T12:00:00.127456Z",
        "outcome": "completed",
        "error": None,
    }
    return operation(
        "getAttempts",
        "Get the attempts to process an order",
        "The attempts, oldest first. The server keeps the newest 50.",
        tag=_TAG,
        parameters=[ORDER_ID],
        responses={
            "200": response(
                "The attempts.", json=ref("AttemptsView"), example={"order_id": 12345, "attempts": [attempt]}
            )
        },
        problems=[NOT_FOUND, ORDER_ARCHIVED, *STORAGE],
    )


def _cancel() -> Schema:
    return operation(
        "cancelOrder",
        "Cancel an order",
        "A Pending order becomes Cancelled. An order that is already Cancelled stays Cancelled.",
        tag=_TAG,
        parameters=[ORDER_ID],
        responses={"200": response("The order, now Cancelled.", json=ref("OrderView"))},
        problems=[NOT_FOUND, ORDER_ARCHIVED, WRONG_STATUS, *ACTION, *STORAGE],
    )


def _retry() -> Schema:
    return operation(
        "retryOrder",
        "Retry an order",
        "A Failed order becomes Pending, and its attempts are counted from 0. An order that waits for a retry is "
        "retried now, and keeps its number of attempts.",
        tag=_TAG,
        parameters=[ORDER_ID],
        responses={"200": response("The order, now Pending.", json=ref("OrderView"))},
        problems=[NOT_FOUND, ORDER_ARCHIVED, WRONG_STATUS, *ACTION, *STORAGE],
    )


def _erase() -> Schema:
    return operation(
        "eraseOrder",
        "Erase personal data",
        "Removes the user, the metadata and all errors of a Completed, Failed or Cancelled order from the database. "
        "The order keeps its id, items, amount, times and status; its `user_id` becomes 0. "
        "A Failed order can't be retried after this. Needs a key with the scope admin.",
        tag=_TAG,
        parameters=[ORDER_ID],
        responses={"200": response("The order, without personal data.", json=ref("OrderView"))},
        problems=[NOT_FOUND, ORDER_ARCHIVED, WRONG_STATUS, *ACTION, *STORAGE],
    )
