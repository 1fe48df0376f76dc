"""The JSON Schemas of orders and metrics, generated from the types of requests and responses. Pure functions."""

from collections.abc import Mapping
from typing import Any

import msgspec

from handlers.metrics.point import Point
from handlers.metrics.snapshot import MetricsView
from handlers.orders.attempts import AttemptsView
from handlers.orders.bulk_view import MAX_LISTED, BulkView
from handlers.orders.listing import OrderPage
from handlers.orders.order_view import OrderView
from models.order import ERASED_USER
from models.parsing.order_body import MAX_AMOUNT, MAX_ID, OrderBody

Schema = dict[str, Any]

ID: Schema = {"type": "integer", "format": "int64", "minimum": 1, "maximum": MAX_ID}
COUNT: Schema = {"type": "integer", "minimum": 0}
_INT64 = {"format": "int64", "minimum": 1, "maximum": MAX_ID}
_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}$"
_TIMESTAMP = {"type": "string", "format": "date-time"}
_METADATA = "Stored unchanged and passed to the processor."
# No multipleOf: 99.99 / 0.0001 is not an integer in binary floating point, so many validators would reject 99.99.
_AMOUNT: Schema = {"type": "number", "minimum": 0, "maximum": float(MAX_AMOUNT)}
_AMOUNT_TEXT: Schema = {"type": "string", "pattern": r"^(0|[1-9][0-9]{0,9})(\.[0-9]{1,4}0*)?$"}

_TYPES = (OrderBody, OrderView, OrderPage, AttemptsView, BulkView, MetricsView, Point)
_REPLACEMENTS: Mapping[tuple[str, str], Schema] = {
    ("OrderBody", "total_amount"): {"anyOf": [_AMOUNT, _AMOUNT_TEXT]},
    ("OrderView", "total_amount"): _AMOUNT,
    ("OrderBody", "metadata"): {"anyOf": [{"type": "object"}, {"type": "null"}]},
    ("OrderView", "metadata"): {"type": "object"},
    ("OrderView", "processed_time"): {"anyOf": [{"type": "string", "pattern": _TIME}, {"type": "null"}]},
    ("OrderView", "created_at"): _TIMESTAMP,
    ("OrderView", "processed_at"): {"anyOf": [_TIMESTAMP, {"type": "null"}]},
    ("OrderView", "next_attempt_at"): {"anyOf": [_TIMESTAMP, {"type": "null"}]},
    ("AttemptView", "started_at"): {"anyOf": [_TIMESTAMP, {"type": "null"}]},
    ("AttemptView", "ended_at"): {"anyOf": [_TIMESTAMP, {"type": "null"}]},
}
"""Schemas of fields whose Python type does not describe their JSON: decimals, raw JSON and times."""
_ADDITIONS: Mapping[tuple[str, str], Schema] = {
    ("OrderBody", "order_id"): _INT64 | {"description": "Chosen by the client. An idempotency key without expiry."},
    ("OrderBody", "user_id"): _INT64,
    ("OrderBody", "item_ids"): {"description": "Sequence and duplicates are kept."},
    ("OrderBody", "total_amount"): {
        "description": "Exact, with at most 4 decimal places: a number, or a string that contains one (an exponent is "
        "allowed). Stored without rounding."
    },
    ("OrderBody", "metadata"): {
        "description": f"{_METADATA} At most 16 KiB of JSON. `null` is the same as no metadata."
    },
    ("OrderView", "order_id"): _INT64,
    ("OrderView", "user_id"): _INT64 | {"description": "0 if personal data was erased.", "minimum": ERASED_USER},
    ("OrderView", "total_amount"): {"description": "The value that was sent, as a number with the same digits."},
    ("OrderView", "created_time"): {"description": "When the order was accepted, UTC.", "pattern": _TIME},
    ("OrderView", "processed_time"): {
        "description": "When the order became Completed or Failed, UTC; null until then."
    },
    ("OrderView", "attempts"): {"description": "The number of processing attempts that count.", "minimum": 0},
    ("OrderView", "error"): {"description": "The error of the last attempt, if it did not complete the order."},
    ("OrderView", "processing_time"): {
        "description": "Seconds from `created_time` to `processed_time`; null until then."
    },
    ("OrderView", "created_at"): {"description": "`created_time` with microseconds, as RFC 3339."},
    ("OrderView", "processed_at"): {"description": "`processed_time` with microseconds, as RFC 3339."},
    ("OrderView", "next_attempt_at"): {"description": "When the order is retried, if it waits for a retry; else null."},
    ("OrderView", "metadata"): {"description": f"{_METADATA} Left out if the order has none."},
    ("AttemptsView", "order_id"): _INT64,
    ("AttemptView", "number"): {
        "description": "Counts from 1, and again from 1 after a retry of a Failed order. An "
        "attempt that does not count has the same number as the next attempt.",
        "minimum": 1,
    },
    ("AttemptView", "started_at"): {"description": "Null if an older version of the server started the attempt."},
    ("AttemptView", "ended_at"): {
        "description": "Null while the attempt is running. After `interrupted`: when the server started again."
    },
    ("AttemptView", "outcome"): {
        "description": "Null while the attempt is running. `rejected`: the processor said that a retry would not help. "
        "`timed_out`: there was no result within `--attempt-timeout`. `interrupted`: the server's process ended. "
        "`stopped`: the server stopped; the attempt does not count."
    },
    ("AttemptView", "error"): {"description": "Why the attempt did not complete the order."},
    ("OrderPage", "next_cursor"): {
        "description": "The `cursor` for the next page; null on the last page. With `oldest_first=true`, null only if "
        "there is no order yet."
    },
    ("BulkView", "accepted"): {"description": "New orders that are on disk now.", "minimum": 0},
    ("BulkView", "duplicates"): {"description": "Orders that were already stored.", "minimum": 0},
    ("BulkView", "rejected"): {"description": "The rejected orders; if there are too many, the first of them."}
    | {"maxItems": MAX_LISTED},
    ("BulkView", "rejected_total"): {"description": "The number of rejected orders.", "minimum": 0},
    ("BulkView", "refused_total"): {
        "description": "How many orders were rejected with the status 503 because too many orders are Pending. Send "
        "these orders again later.",
        "minimum": 0,
    },
    ("Rejection", "status"): {"enum": [409, 422, 503]},
    ("MetricsView", "avg_processing_time"): {
        "description": "The mean `processing_time` of all Completed orders, in seconds."
    },
    ("MetricsView", "oldest_pending_seconds"): {
        "description": "Seconds since the oldest Pending order that is due was accepted; 0 if none is due."
    },
    ("MetricsView", "paused"): {"description": "Whether processing is paused."},
    ("MetricsView", "deliveries_paused"): {
        "description": "Whether webhooks are paused because the receiver is busy or unreachable."
    },
    ("MetricsView", "servers"): {
        "description": "The servers that share the PostgreSQL database. Left out if the database is a SQLite file."
    },
    ("ServerView", "number"): {"description": "A server that has lost its lease comes back with a new number."},
    ("ServerView", "name"): {"description": "The name of the machine and the process id."},
    ("ServerView", "started_at"): {"format": "date-time", "description": "When the server got its number."},
    ("ServerView", "lease_age_seconds"): {"description": "Seconds since the server renewed its lease."},
    ("ServerView", "is_alive"): {
        "description": "False if the lease has expired: another server takes over the orders of this one."
    },
    ("ServerView", "processing_orders"): {"description": "The number of orders that the server is processing."},
    ("ServerView", "is_this"): {"description": "True for the server that responds."},
    ("StorageView", "is_writable"): {"description": "False from a failed write until writes succeed again."},
    ("StorageView", "is_readable"): {"description": "False from a failed read until reads succeed again."},
    ("StorageView", "errors"): {
        "description": "The number of errors since the start, by SQLite's name of the error, such as `SQLITE_FULL`."
    },
    ("StorageView", "database_bytes"): {"description": "The size of the database file."},
    ("StorageView", "wal_bytes"): {"description": "The size of the write-ahead log."},
    ("StorageView", "free_disk_bytes"): {"description": "The free space on the disk of the database."},
    ("MetricsView", "accepted_per_second"): {"description": "Over the last 60 s."},
    ("MetricsView", "completed_per_second"): {"description": "Over the last 60 s."},
}
"""Additions to the generated schemas of fields."""
_INTEGERS = (
    "Integers have no decimal point or exponent: 1.0 is not accepted, although it is an integer in JSON Schema. "
    "Unknown and repeated fields are errors."
)


def schemas_of_types() -> dict[str, Schema]:
    """The schemas of the types in `_TYPES`, and of the types of their fields. The keys are the names of the types."""
    _, schemas = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    for (name, field), schema in _REPLACEMENTS.items():
        schemas[name]["properties"][field] = dict(schema)
    for (name, field), addition in _ADDITIONS.items():
        schemas[name]["properties"][field] |= addition
    for schema in schemas.values():
        # The docstrings of the types, without their line breaks.
        schema["description"] = " ".join(schema["description"].split())
    schemas["OrderBody"]["description"] += f" {_INTEGERS}"
    schemas["Status"]["type"] = "string"
    # A response contains every field, although the type has defaults.
    schemas["BulkView"]["required"] = list(BulkView.__struct_fields__)
    return schemas


def properties_of(name: str) -> dict[str, Schema]:
    """The schemas of the fields of the type with this name, by field.

    Returns copies, because code generators do not resolve references to the properties of a schema.
    """
    properties: dict[str, Schema] = schemas_of_types()[name]["properties"]
    return properties
