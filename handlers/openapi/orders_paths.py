"""Describes the paths of many orders. Pure functions."""

import json

from handlers.openapi.events import event, one_of
from handlers.openapi.operations import README_ORDER, operation, query, ref, response
from handlers.openapi.order_paths import README_ORDER_VIEW
from handlers.openapi.problems import ACTION, PARTLY_RETRIED, PARTLY_SENT, STORAGE
from handlers.openapi.schemas import COUNT, ID, Schema
from handlers.orders.error_filter import MAX_EXAMINED
from handlers.orders.listing import DEFAULT_LIMIT, JSON, MAX_LIMIT, NDJSON
from handlers.problems.problem import (
    INVALID_ORDER,
    INVALID_PARAMETER,
    NOT_JSON,
    NOTHING_ACCEPTED,
    UNSUPPORTED_MEDIA_TYPE,
)
from models.parsing.array_reader import MAX_ORDERS

_TAG = "Many orders"
_EVENTS = 'id: 1f-1\nevent: order\ndata: {"order_id":12345,"user_id":1,"status":"Completed","attempts":1}\n\n'
_LINES = "".join(f"{json.dumps(README_ORDER | {'order_id': order_id})}\n" for order_id in (12345, 12346))
_TIME: Schema = {"type": "string", "format": "date-time"}
_TIME_FORMATS = "RFC 3339, such as `2025-03-01T12:00:00Z`, or `2025-03-01 12:00:00` as in responses, in UTC."
_ERROR: Schema = {"type": "string", "minLength": 1}
_WITH_ERROR = "Only orders whose `error` contains this text."
_EXAMINED = (
    f"A request examines up to {MAX_EXAMINED} orders, so a page can have fewer orders than `limit`, but still have a "
    "`next_cursor`."
)
_LIMIT: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
_EXPORT: Schema = {"type": "string", "description": "Each line is an `OrderView` with one more member, `cursor`."}
_EXPORTED = f"{json.dumps(README_ORDER_VIEW | {'cursor': 'MToz'})}\n"
_CHANGE: Schema = {
    "type": "object",
    "properties": {
        "order_id": ID,
        "user_id": ID,
        "status": ref("Status"),
        "attempts": COUNT,
        "error": {"description": "The error of the last attempt, if it had one.", "type": "string"},
    },
    "required": ["order_id", "user_id", "status", "attempts"],
}
_EVENT = one_of(
    event("order", "The status of an order has changed.", _CHANGE, has_id=True),
    event("reset", "The server no longer has the events after `Last-Event-ID`.", {"type": "object"}, has_id=True),
)
_RETRIED: Schema = {"type": "object", "properties": {"retried": COUNT}, "required": ["retried"]}


def orders_paths() -> dict[str, Schema]:
    """The operations, by path and method."""
    return {
        "/orders": {"get": _list(), "post": _send_many()},
        "/orders/retry": {"post": _retry()},
        "/orders/events": {"get": _events()},
    }


def _list() -> Schema:
    return operation(
        "listOrders",
        "List or export orders",
        "Newest first or oldest first; as JSON, a page at a time, or as NDJSON, all at once. New orders do not shift "
        "the pages. To follow along, list oldest first, and continue with the last cursor that you got: no order is "
        "missed.",
        tag=_TAG,
        parameters=[
            query("status", ref("Status"), "Only orders with this status."),
            query("user_id", ID, "Only orders of this user."),
            query(
                "error",
                _ERROR,
                f"{_WITH_ERROR} {_EXAMINED}",
            ),
            query("created_after", _TIME, f"Only orders created at this time or later. {_TIME_FORMATS}"),
            query("created_before", _TIME, f"Only orders created before this time. {_TIME_FORMATS}"),
            query("oldest_first", {"enum": ["true", "false"], "default": "false"}, "Whether old orders come first."),
            query("format", {"enum": [JSON, NDJSON], "default": JSON}, "`ndjson` sends all orders, one per line."),
            query("limit", _LIMIT, "The number of orders, at most. Without it, NDJSON has all."),
            query(
                "cursor",
                {"type": "string", "minLength": 1},
                "`next_cursor` of the previous page, or `cursor` of a line. Only orders after it are sent.",
            ),
        ],
        responses={
            "200": response(
                "A page of orders.",
                json=ref("OrderPage"),
                example={"orders": [README_ORDER_VIEW], "next_cursor": None},
                content={"application/x-ndjson": {"schema": _EXPORT, "example": _EXPORTED}},
                headers=["Link"],
                links={"next": {"operationId": "listOrders", "parameters": {"cursor": "$response.body#/next_cursor"}}},
            )
        },
        problems=[INVALID_PARAMETER, *STORAGE],
    )


def _send_many() -> Schema:
    orders: Schema = {"type": "array", "items": ref("OrderBody"), "minItems": 1, "maxItems": MAX_ORDERS}
    lines = {
        "description": "One order per line, any number of lines. The server stores orders while it reads the stream.",
        "type": "array",
        "items": ref("OrderBody"),
        "minItems": 1,
    }
    counts = {"accepted": 1, "duplicates": 0, "rejected": [], "rejected_total": 0, "refused_total": 0}
    return operation(
        "sendOrders",
        "Send many orders",
        "An invalid order does not affect the others. Responds when all accepted orders are on disk, or with 422 or "
        "503 if no order was accepted or already stored. An array has at most 8 MiB, NDJSON has no limit. One "
        "byte-order mark before the body is skipped.",
        tag=_TAG,
        body={
            "application/json": {"schema": orders, "example": [README_ORDER]},
            "application/x-ndjson": {"schema": lines, "example": _LINES},
        },
        responses={"202": response("The accepted orders are on disk.", json=ref("BulkView"), example=counts)},
        problems=[NOT_JSON, UNSUPPORTED_MEDIA_TYPE, INVALID_ORDER, NOTHING_ACCEPTED, *STORAGE],
        unavailable=PARTLY_SENT,
    )


def _retry() -> Schema:
    return operation(
        "retryOrders",
        "Retry many orders",
        "With `status=Failed`, every Failed order becomes Pending, and its attempts are counted from 0. With "
        "`status=Pending`, every order that waits for a retry is retried now, and keeps its number of attempts. After "
        "an error, `retried` in the problem is the number of orders that were changed; send the request again for the "
        "others.",
        tag=_TAG,
        parameters=[
            query("status", {"enum": ["Failed", "Pending"]}, "The status of the orders to retry.", required=True),
            query("error", _ERROR, _WITH_ERROR),
            query("created_after", _TIME, f"Only orders created at this time or later. {_TIME_FORMATS}"),
            query("created_before", _TIME, f"Only orders created before this time. {_TIME_FORMATS}"),
        ],
        responses={"200": response("The number of retried orders.", json=_RETRIED, example={"retried": 3})},
        problems=[INVALID_PARAMETER, *ACTION, *STORAGE],
        unavailable=PARTLY_RETRIED,
    )


def _events() -> Schema:
    last = {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "The `id` of the last event that the client has got. The events after it are sent first, or an "
        "`event: reset` if the server no longer has them.",
        "schema": {"type": "string"},
    }
    return operation(
        "followOrders",
        "Follow the orders",
        "An endless stream of Server-Sent Events: one for every change of an order's status. A reader that is too slow "
        "is disconnected, and can reconnect with `Last-Event-ID`.",
        tag=_TAG,
        parameters=[
            query("order_id", ID, "Only events of this order."),
            query("user_id", ID, "Only events of this user's orders."),
            last,
        ],
        responses={
            "200": response(
                "The stream.",
                content={"text/event-stream": {"schema": _EVENT, "example": _EVENTS}},
                headers=["Cache-Control"],
            )
        },
        problems=[INVALID_PARAMETER, *STORAGE],
    )
