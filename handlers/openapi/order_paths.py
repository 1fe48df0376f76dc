"""The paths of one order. Pure."""

from handlers.openapi.operations import ORDER_ID, README_ORDER, answer, operation, query, ref
from handlers.openapi.problems import ACTION, STORAGE
from handlers.openapi.schemas import Schema
from handlers.orders.preferences import MAX_WAIT_S
from handlers.problems.problem import (
    CONFLICT,
    INVALID_ORDER,
    INVALID_PARAMETER,
    NOT_FOUND,
    NOT_JSON,
    UNSUPPORTED_MEDIA_TYPE,
    WRONG_STATUS,
)

_TAG = "One order"
README_ANSWER: Schema = README_ORDER | {
    "status": "Completed",
    "created_time": "2025-03-01 12:00:00",
    "processed_time": "2025-03-01 12:00:00",
    "attempts": 1,
    "error": None,
    "processing_time": 0.004,
}
_PREFER: Schema = {
    "name": "Prefer",
    "in": "header",
    "description": f"`wait=5` (RFC 7240): rather wait up to 5 seconds, at most {MAX_WAIT_S}, for the order's end than "
    "get a 202 at once.",
    "schema": {"type": "string"},
    "example": "wait=5",
}
_ACCEPTED: Schema = {
    "type": "object",
    "properties": {
        "message": {"type": "string"},
        "order_id": {"description": "As a string here.", "type": "string", "pattern": "^[1-9][0-9]{0,18}$"},
    },
    "required": ["message", "order_id"],
}


def order_paths() -> dict[str, Schema]:
    """By path, and by method in it."""
    return {
        "/order": {"post": _send()},
        "/order/{order_id}": {"get": _look()},
        "/order/{order_id}/cancel": {"post": _cancel()},
        "/order/{order_id}/retry": {"post": _retry()},
    }


def _send() -> Schema:
    found = {"parameters": {"order_id": "$response.body#/order_id"}}
    return operation(
        "sendOrder",
        "Send an order",
        "Answers once the order is on disk. The same order again gets the same answer, with `Idempotent-Replayed`; "
        "another order under a known id gets 409. Neither changes what is stored. The body has at most 64 KiB.",
        tag=_TAG,
        parameters=[_PREFER],
        body={"application/json": {"schema": ref("OrderBody"), "example": README_ORDER}},
        answers={
            "200": answer(
                "With `Prefer: wait`: the order, processed in time.",
                json=ref("OrderView"),
                example=README_ANSWER,
                headers=["Location", "Idempotent-Replayed", "Preference-Applied"],
            ),
            "202": answer(
                "The order is on disk and will be processed.",
                json=_ACCEPTED,
                example={"message": "Order processing initiated successfully", "order_id": "12345"},
                headers=["Location", "Idempotent-Replayed"],
                links={
                    "order": {"operationId": "getOrder", **found},
                    "cancel": {"operationId": "cancelOrder", **found},
                    "retry": {"operationId": "retryOrder", **found},
                },
            ),
        },
        problems=[NOT_JSON, CONFLICT, UNSUPPORTED_MEDIA_TYPE, INVALID_ORDER, *STORAGE],
    )


def _look() -> Schema:
    wait = query(
        "wait",
        {"type": "integer", "minimum": 0, "maximum": MAX_WAIT_S},
        "For how many seconds to wait for the order's end; then it is answered as it is.",
    )
    return operation(
        "getOrder",
        "What has become of an order",
        "The order as it is now. With `wait`, as it is once it is Completed, Failed or Cancelled, or after so many "
        "seconds.",
        tag=_TAG,
        parameters=[ORDER_ID, wait],
        answers={"200": answer("The order.", json=ref("OrderView"), example=README_ANSWER)},
        problems=[NOT_FOUND, INVALID_PARAMETER, *STORAGE],
    )


def _cancel() -> Schema:
    return operation(
        "cancelOrder",
        "Cancel an order",
        "Pending becomes Cancelled; what is Cancelled already stays so.",
        tag=_TAG,
        parameters=[ORDER_ID],
        answers={"200": answer("The order, Cancelled.", json=ref("OrderView"))},
        problems=[NOT_FOUND, WRONG_STATUS, *ACTION, *STORAGE],
    )


def _retry() -> Schema:
    return operation(
        "retryOrder",
        "Have a failed order tried again",
        "Failed becomes Pending, with attempts from 0.",
        tag=_TAG,
        parameters=[ORDER_ID],
        answers={"200": answer("The order, Pending again.", json=ref("OrderView"))},
        problems=[NOT_FOUND, WRONG_STATUS, *ACTION, *STORAGE],
    )
