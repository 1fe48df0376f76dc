"""The JSON Schemas of orders and metrics, made from the types that validate and answer. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from handlers.metrics.history import Point
from handlers.metrics.snapshot import MetricsView
from handlers.orders.bulk import MAX_LISTED, BulkView
from handlers.orders.listing import OrderPage
from handlers.orders.single import OrderView
from models.parsing.order_body import MAX_AMOUNT, MAX_ID, OrderBody

Schema = dict[str, Any]

ID: Schema = {"type": "integer", "format": "int64", "minimum": 1, "maximum": MAX_ID}
COUNT: Schema = {"type": "integer", "minimum": 0}
_INT64 = {"format": "int64", "minimum": 1, "maximum": MAX_ID}
_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}$"
_METADATA = "Kept as given and handed to the processor."
# No multipleOf: 99.99 / 0.0001 is no integer in binary floating point, so that many a validator would refuse it.
_AMOUNT: Schema = {"type": "number", "minimum": 0, "maximum": float(MAX_AMOUNT)}
_AMOUNT_TEXT: Schema = {"type": "string", "pattern": r"^(0|[1-9][0-9]{0,9})(\.[0-9]{1,4}0*)?$"}

_TYPES = (OrderBody, OrderView, OrderPage, BulkView, MetricsView, Point)
_INSTEAD: Mapping[tuple[str, str], Schema] = {
    ("OrderBody", "total_amount"): {"anyOf": [_AMOUNT, _AMOUNT_TEXT]},
    ("OrderView", "total_amount"): _AMOUNT,
    ("OrderBody", "metadata"): {"type": "object"},
    ("OrderView", "metadata"): {"type": "object"},
}
"""What stands for a field whose Python type says something else than its JSON: decimals and raw JSON."""
_MORE: Mapping[tuple[str, str], Schema] = {
    ("OrderBody", "order_id"): _INT64 | {"description": "The client's own; it is the idempotency key for ever."},
    ("OrderBody", "user_id"): _INT64,
    ("OrderBody", "item_ids"): {"description": "Order and repeats are kept."},
    ("OrderBody", "total_amount"): {
        "description": "Exact, with at most 4 decimal places: a number, or a string that holds one (it may have an "
        "exponent, too). Stored without rounding."
    },
    ("OrderBody", "metadata"): {"description": f"{_METADATA} At most 16 KiB of JSON."},
    ("OrderView", "order_id"): _INT64,
    ("OrderView", "user_id"): _INT64,
    ("OrderView", "total_amount"): {"description": "The value that was sent, as a number with the same digits."},
    ("OrderView", "created_time"): {"description": "When it was accepted, UTC.", "pattern": _TIME},
    ("OrderView", "processed_time"): {
        "description": "When it became Completed or Failed, UTC; null until then.",
        "pattern": _TIME,
    },
    ("OrderView", "attempts"): {"description": "How many attempts at processing it have counted.", "minimum": 0},
    ("OrderView", "error"): {"description": "What its last attempt came to, where that did not complete it."},
    ("OrderView", "processing_time"): {"description": "Seconds from created to processed; null until then."},
    ("OrderView", "metadata"): {"description": f"{_METADATA} Only there where some was given."},
    ("OrderPage", "next_cursor"): {"description": "`cursor` of the next page; null on the last one."},
    ("BulkView", "accepted"): {"description": "Orders that are on disk now.", "minimum": 0},
    ("BulkView", "duplicates"): {"description": "The same orders as some that were there already.", "minimum": 0},
    ("BulkView", "rejected"): {"description": "The orders that were not taken, or the first of them."}
    | {"maxItems": MAX_LISTED},
    ("BulkView", "rejected_total"): {"description": "How many were not taken.", "minimum": 0},
    ("Rejection", "status"): {"enum": [409, 422]},
    ("MetricsView", "avg_processing_time"): {
        "description": "Seconds from created to processed: the mean over the Completed orders."
    },
    ("MetricsView", "oldest_pending_seconds"): {"description": "The age of the oldest Pending order."},
    ("MetricsView", "accepted_per_second"): {"description": "Over the last 60 s."},
    ("MetricsView", "completed_per_second"): {"description": "Over the last 60 s."},
}
"""What is added to a field's schema."""
_INTEGERS = (
    "Integers are written without a point or an exponent: 1.0 is none here, although JSON Schema calls it one. Unknown "
    "and repeated fields are errors."
)


def schemas_of_types() -> dict[str, Schema]:
    """One schema for each type, by its name."""
    _, made = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    for (name, field), schema in _INSTEAD.items():
        made[name]["properties"][field] = dict(schema)
    for (name, field), more in _MORE.items():
        made[name]["properties"][field] |= more
    for schema in made.values():
        # As docstrings they are broken into lines.
        schema["description"] = " ".join(schema["description"].split())
    made["OrderBody"]["description"] += f" {_INTEGERS}"
    made["Status"]["type"] = "string"
    # Where it is an answer, nothing is left out, although the type has defaults.
    made["BulkView"]["required"] = list(BulkView.__struct_fields__)
    return made
