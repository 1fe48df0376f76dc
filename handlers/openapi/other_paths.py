"""The paths beside the orders: metrics, health, documentation. Pure."""

from handlers.docs import FILES
from handlers.openapi.operations import answer, operation, ref
from handlers.openapi.problems import STORAGE
from handlers.openapi.schemas import Schema
from handlers.problems import NOT_FOUND

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


def other_paths() -> dict[str, Schema]:
    """By path, and by method in it."""
    return {
        "/metrics": {"get": _metrics()},
        "/metrics/prometheus": {"get": _prometheus()},
        "/livez": {"get": _live()},
        "/readyz": {"get": _ready()},
        "/openapi.json": {"get": _document()},
        "/docs": {"get": _docs()},
        "/docs/{file}": {"get": _file()},
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


def _document() -> Schema:
    return operation(
        "getOpenApi",
        "This document",
        "OpenAPI 3.1.",
        tag="Documentation",
        answers={
            "200": answer("The document.", json={"type": "object"}, headers=["ETag", "Cache-Control"]),
            "304": answer("The client has it already.", headers=["ETag", "Cache-Control"]),
        },
    )


def _docs() -> Schema:
    return operation(
        "getDocs",
        "This document, to read and to try",
        "A page with Swagger UI.",
        tag="Documentation",
        answers={
            "200": answer("The page.", content={"text/html": _TEXT}, headers=["ETag", "Cache-Control"]),
            "304": answer("The client has it already.", headers=["ETag", "Cache-Control"]),
        },
    )


def _file() -> Schema:
    name = {"name": "file", "in": "path", "required": True, "schema": {"type": "string", "enum": sorted(FILES)}}
    return operation(
        "getDocsFile",
        "What the page is made of",
        "Scripts, style and icon.",
        tag="Documentation",
        parameters=[name],
        answers={
            "200": answer(
                "The file.",
                content=dict.fromkeys(sorted(set(FILES.values())), _TEXT),
                headers=["ETag", "Cache-Control"],
            ),
            "304": answer("The client has it already.", headers=["ETag", "Cache-Control"]),
        },
        problems=[NOT_FOUND],
    )
