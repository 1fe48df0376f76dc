"""Describes the paths of metrics. Pure functions."""

from handlers.metrics.history import LENGTHS_S, MAX_POINTS, RANGES_S
from handlers.openapi.events import event, one_of
from handlers.openapi.operations import operation, query, ref, response
from handlers.openapi.problems import STORAGE
from handlers.openapi.schemas import Schema, properties_of
from handlers.problems.problem import INVALID_PARAMETER, OVERLOADED, STOPPING
from handlers.sse.metric_events import DEFAULT_RANGE, KEY_SCOPE

_TEXT: Schema = {"schema": {"type": "string"}}
_FORMATS = {"text/plain": _TEXT, "application/openmetrics-text": _TEXT}
_README_METRICS: Schema = {
    "total_orders": 1,
    "avg_processing_time": 0.004,
    "pending_orders": 0,
    "processing_orders": 0,
    "completed_orders": 1,
    "failed_orders": 0,
    "cancelled_orders": 0,
    "oldest_pending_seconds": 0.0,
    "accepted_per_second": 1.0,
    "completed_per_second": 1.0,
    "uptime_seconds": 1.2,
    "paused": False,
    "deliveries_paused": False,
    "storage": {
        "is_writable": True,
        "is_readable": True,
        "errors": {},
        "database_bytes": 36_864,
        "wal_bytes": 12_392,
        "free_disk_bytes": 52_428_800_000,
    },
    "archived_orders": 0,
}
_EVENTS = """\
event: point
data: {"time":1740830400.123,"accepted_per_second":1.0,"completed_per_second":1.0,"pending":0,"processing":0,\
"ack_p50_seconds":0.003,"ack_p99_seconds":0.003,"processing_p50_seconds":0.004,"processing_p99_seconds":0.004,\
"seconds":1}

"""


def metrics_paths() -> dict[str, Schema]:
    """The operations, by path and method."""
    return {
        "/metrics": {"get": _metrics()},
        "/metrics/events": {"get": _metrics_events()},
        "/metrics/prometheus": {"get": _prometheus()},
    }


def _metrics() -> Schema:
    return operation(
        "getMetrics",
        "Get the metrics",
        "JSON, unless `Accept` prefers the Prometheus text format (`text/plain`) or OpenMetrics "
        "(`application/openmetrics-text`).",
        tag="Metrics",
        responses={
            "200": response(
                "Counts, times and rates.",
                json=ref("MetricsView"),
                example=_README_METRICS,
                content=_FORMATS,
                headers=["Vary"],
            )
        },
        problems=STORAGE,
    )


def _metrics_events() -> Schema:
    events = one_of(
        event("history", "The history until now. The first event of each stream.", _history(), has_id=False),
        event(
            "storage",
            "`storage` of `GET /metrics`. Sent instead of `metrics` and `point` while orders can't be read.",
            ref("StorageView"),
            has_id=False,
        ),
        event("metrics", "The same as `GET /metrics`.", ref("MetricsView"), has_id=False),
        event(
            "point",
            "A point of the history. It replaces a point with the same time.",
            ref("Point"),
            has_id=False,
        ),
    )
    return operation(
        "followMetrics",
        "Follow the metrics",
        "An endless stream of Server-Sent Events: the history until now, then the metrics of each second. While "
        "orders can't be read, it sends only `storage` events. A client that reads slowly misses events, and a client "
        "that does not read is disconnected.",
        tag="Metrics",
        parameters=[
            query(
                "range",
                {"enum": list(RANGES_S), "default": DEFAULT_RANGE},
                "The time that the history covers: ten minutes, an hour or a day.",
            )
        ],
        responses={
            "200": response(
                "The stream.",
                content={"text/event-stream": {"schema": events, "example": _EVENTS}},
                headers=["Cache-Control", KEY_SCOPE],
            )
        },
        problems=[INVALID_PARAMETER, OVERLOADED, STOPPING],
    )


def _prometheus() -> Schema:
    return operation(
        "getPrometheusMetrics",
        "Get the metrics for Prometheus",
        "The Prometheus text format, or OpenMetrics if `Accept` prefers it.",
        tag="Metrics",
        responses={"200": response("Counters, gauges and histograms.", content=_FORMATS, headers=["Vary"])},
        problems=STORAGE,
    )


def _history() -> Schema:
    columns = properties_of("Point")
    lists = {name: {"type": "array", "items": value, "maxItems": MAX_POINTS} for name, value in columns.items()}
    return {
        "description": f"The last points, at most {MAX_POINTS}: a list for each field, oldest first.",
        "type": "object",
        "properties": {
            "interval_seconds": {"description": "The `seconds` of further points.", "enum": list(LENGTHS_S)},
            "covered_seconds": {
                "description": "How much time the server covers with such points. If this is less than the range, "
                "connect again after this time.",
                "enum": list(LENGTHS_S.values()),
            },
        }
        | lists,
        "required": ["interval_seconds", "covered_seconds", *columns],
    }
