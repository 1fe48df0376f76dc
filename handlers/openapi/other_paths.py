"""The paths beside the orders: metrics and health. Pure."""

from handlers.metrics.history import INTERVAL_S, MAX_POINTS, Point
from handlers.openapi.events import event, one_of
from handlers.openapi.operations import answer, operation, ref
from handlers.openapi.problems import STORAGE
from handlers.openapi.schemas import Schema
from handlers.problems.problem import INVALID_PARAMETER, OVERLOADED, STOPPING

_OK: Schema = {"type": "object", "properties": {"status": {"const": "ok"}}, "required": ["status"]}
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
}
_COLUMNS = Point.__struct_fields__
_HISTORY: Schema = {
    "description": f"The last points, at most {MAX_POINTS}: a column for each field of theirs, oldest first.",
    "type": "object",
    "properties": {"interval_seconds": {"const": INTERVAL_S}}
    | {name: {"type": "array", "items": ref(f"Point/properties/{name}"), "maxItems": MAX_POINTS} for name in _COLUMNS},
    "required": ["interval_seconds", *_COLUMNS],
}
_STORAGE: Schema = {
    "type": "object",
    "properties": {"is_writable": {"const": False}},
    "required": ["is_writable"],
}
_EVENT = one_of(
    event("history", "How it went until now; the first event of each stream.", _HISTORY, has_id=False),
    event("storage", "Comes before `metrics` while the last write failed.", _STORAGE, has_id=False),
    event("metrics", "What `/metrics` says.", ref("MetricsView"), has_id=False),
    event("point", "The newest point of the history.", ref("Point"), has_id=False),
)
_EVENTS = """\
event: point
data: {"time":1740830400.123,"accepted_per_second":1.0,"completed_per_second":1.0,"pending":0,"processing":0,\
"ack_p50_seconds":0.003,"ack_p99_seconds":0.003,"processing_p50_seconds":0.004,"processing_p99_seconds":0.004}

"""


def other_paths() -> dict[str, Schema]:
    """By path, and by method in it."""
    return {
        "/metrics": {"get": _metrics()},
        "/metrics/events": {"get": _metrics_events()},
        "/metrics/prometheus": {"get": _prometheus()},
        "/livez": {"get": _live()},
        "/readyz": {"get": _ready()},
    }


def _metrics() -> Schema:
    return operation(
        "getMetrics",
        "How it goes",
        "JSON, unless `Accept` prefers the Prometheus text format (`text/plain`) or OpenMetrics "
        "(`application/openmetrics-text`).",
        tag="Metrics",
        answers={
            "200": answer(
                "Counts and times.",
                json=ref("MetricsView"),
                example=_README_METRICS,
                content=_FORMATS,
                headers=["Vary"],
            )
        },
        problems=STORAGE,
    )


def _metrics_events() -> Schema:
    return operation(
        "followMetrics",
        "Follow how it goes",
        "Server-Sent Events, without end: how it went until now, and then each second how it goes. A second of which "
        "it can't be told is left out. A reader that is slow misses some, and one that takes nothing is dropped.",
        tag="Metrics",
        answers={
            "200": answer(
                "The stream.",
                content={"text/event-stream": {"schema": _EVENT, "example": _EVENTS}},
                headers=["Cache-Control"],
            )
        },
        problems=[INVALID_PARAMETER, OVERLOADED, STOPPING],
    )


def _prometheus() -> Schema:
    return operation(
        "getPrometheusMetrics",
        "How it goes, for Prometheus",
        "The Prometheus text format, or OpenMetrics where `Accept` prefers that.",
        tag="Metrics",
        answers={"200": answer("Counters, gauges and histograms.", content=_FORMATS, headers=["Vary"])},
        problems=STORAGE,
    )


def _live() -> Schema:
    return operation(
        "getLive",
        "Whether the process lives",
        "200 for as long as it turns.",
        tag="Health",
        answers={"200": answer("It does.", json=_OK, example={"status": "ok"})},
        is_open=True,
    )


def _ready() -> Schema:
    return operation(
        "getReady",
        "Whether orders can be taken",
        "200 while orders can be written: if the last write failed, it tries one.",
        tag="Health",
        answers={"200": answer("They can.", json=_OK, example={"status": "ok"})},
        problems=STORAGE,
        is_open=True,
    )
