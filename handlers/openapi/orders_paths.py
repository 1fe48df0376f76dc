"""The paths of many orders. Pure."""

import json

from handlers.openapi.events import event, one_of
from handlers.openapi.operations import README_ORDER, answer, operation, query, ref
from handlers.openapi.order_paths import README_ANSWER
from handlers.openapi.problems import ACTION, STORAGE
from handlers.openapi.schemas import COUNT, ID, Schema
from handlers.orders.bulk import BulkView
from handlers.orders.listing import DEFAULT_LIMIT, MAX_LIMIT
from handlers.problems.problem import (
    INVALID_ORDER,
    INVALID_PARAMETER,
    NOT_JSON,
    NOTHING_ACCEPTED,
    UNSUPPORTED_MEDIA_TYPE,
)
from models.parsing.bulk import MAX_ORDERS

_TAG = "Many orders"
_EVENTS = 'id: 1f-1\nevent: order\ndata: {"order_id":12345,"user_id":1,"status":"Completed","attempts":1}\n\n'
_LINES = "".join(f"{json.dumps(README_ORDER | {'order_id': order_id})}\n" for order_id in (12345, 12346))
_MOMENT: Schema = {"type": "string", "format": "date-time"}
_MOMENT_WORDS = "RFC 3339, `2025-03-01T12:00:00Z`; `2025-03-01 12:00:00`, as in answers, is taken, too, for UTC."
_LIMIT: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}
_CHANGE: Schema = {
    "type": "object",
    "properties": {
        "order_id": ID,
        "user_id": ID,
        "status": ref("Status"),
        "attempts": COUNT,
        "error": {"description": "What its last attempt came to, where there is something.", "type": "string"},
    },
    "required": ["order_id", "user_id", "status", "attempts"],
}
_EVENT = one_of(
    event("order", "An order has another status.", _CHANGE, has_id=True),
    event("reset", "Events since the one that was named are no longer known.", {"type": "object"}, has_id=True),
)
_RETRIED: Schema = {"type": "object", "properties": {"retried": COUNT}, "required": ["retried"]}


def orders_paths() -> dict[str, Schema]:
    """By path, and by method in it."""
    return {
        "/orders": {"get": _list(), "post": _send()},
        "/orders/retry": {"post": _retry()},
        "/orders/events": {"get": _events()},
    }


def _list() -> Schema:
    return operation(
        "listOrders",
        "List orders",
        "Newest first, a page at a time. New orders never shift the pages.",
        tag=_TAG,
        parameters=[
            query("status", ref("Status"), "Only orders of this status."),
            query("user_id", ID, "Only orders of this user."),
            query("created_after", _MOMENT, f"Only orders created at this moment or later. {_MOMENT_WORDS}"),
            query("created_before", _MOMENT, f"Only orders created before this moment. {_MOMENT_WORDS}"),
            query("limit", _LIMIT, "How many at most."),
            query("cursor", {"type": "string", "minLength": 1}, "`next_cursor` of the page before."),
        ],
        answers={
            "200": answer(
                "A page of orders.",
                json=ref("OrderPage"),
                example={"orders": [README_ANSWER], "next_cursor": None},
                headers=["Link"],
                links={"next": {"operationId": "listOrders", "parameters": {"cursor": "$response.body#/next_cursor"}}},
            )
        },
        problems=[INVALID_PARAMETER, *STORAGE],
    )


def _send() -> Schema:
    orders: Schema = {"type": "array", "items": ref("OrderBody"), "minItems": 1, "maxItems": MAX_ORDERS}
    lines = {
        "description": "One order a line, any number of them; read as a stream and committed as it comes.",
        "type": "array",
        "items": ref("OrderBody"),
        "minItems": 1,
    }
    counts = {"accepted": 1, "duplicates": 0, "rejected": [], "rejected_total": 0}
    return operation(
        "sendOrders",
        "Send many orders",
        "A bad order fails alone: those beside it are taken. Answers once all that were taken are on disk; 422 if none "
        "was taken or there already. An array has at most 8 MiB, lines are as many as there are.",
        tag=_TAG,
        body={
            "application/json": {"schema": orders, "example": [README_ORDER]},
            "application/x-ndjson": {"schema": lines, "example": _LINES},
        },
        answers={"202": answer("What was taken is on disk.", json=ref("BulkView"), example=counts)},
        problems=[NOT_JSON, UNSUPPORTED_MEDIA_TYPE, INVALID_ORDER, NOTHING_ACCEPTED, *STORAGE],
        broken_off={"properties": {name: ref(f"BulkView/properties/{name}") for name in BulkView.__struct_fields__}},
    )


def _retry() -> Schema:
    status = query("status", {"const": "Failed"}, "Which orders: those that failed.", required=True)
    return operation(
        "retryFailedOrders",
        "Have all failed orders tried again",
        "Every Failed order becomes Pending, with attempts from 0. Where that breaks off, `retried` in the problem "
        "says how many they were; ask once more for the others.",
        tag=_TAG,
        parameters=[status],
        answers={"200": answer("How many they were.", json=_RETRIED, example={"retried": 3})},
        problems=[INVALID_PARAMETER, *ACTION, *STORAGE],
        broken_off={"properties": {"retried": COUNT}},
    )


def _events() -> Schema:
    last = {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "The `id` of the last event that was seen: those since then come first, or an `event: reset` "
        "says that they are no longer known.",
        "schema": {"type": "string"},
    }
    return operation(
        "followOrders",
        "Follow the orders",
        "Server-Sent Events, without end: one for every change of an order's status. A reader that is too slow is "
        "dropped, and comes back with `Last-Event-ID`.",
        tag=_TAG,
        parameters=[
            query("order_id", ID, "Only events of this order."),
            query("user_id", ID, "Only events of this user's orders."),
            last,
        ],
        answers={
            "200": answer(
                "The stream.",
                content={"text/event-stream": {"schema": _EVENT, "example": _EVENTS}},
                headers=["Cache-Control"],
            )
        },
        problems=[INVALID_PARAMETER, *STORAGE],
    )
