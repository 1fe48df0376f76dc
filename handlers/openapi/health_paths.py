"""Describes the paths of the health checks. Pure functions."""

from handlers.openapi.operations import operation, response
from handlers.openapi.problems import STORAGE
from handlers.openapi.schemas import Schema

_OK: Schema = {"type": "object", "properties": {"status": {"const": "ok"}}, "required": ["status"]}

_READY: Schema = {
    "type": "object",
    "properties": {
        "status": {"const": "ok"},
        "paused": {"description": "Whether processing is paused.", "type": "boolean"},
    },
    "required": ["status", "paused"],
}


def health_paths() -> dict[str, Schema]:
    """The operations, by path and method."""
    return {
        "/livez": {"get": _live()},
        "/readyz": {"get": _ready()},
    }


def _live() -> Schema:
    return operation(
        "getLive",
        "Liveness probe",
        "200 as long as the event loop runs.",
        tag="Health",
        responses={"200": response("The process is alive.", json=_OK, example={"status": "ok"})},
        needs_key=False,
        has_limit=False,
    )


def _ready() -> Schema:
    return operation(
        "getReady",
        "Readiness probe",
        "200 as long as orders can be stored and read, also while processing is paused. If a write or a read has "
        "failed, the server tests the same kind of work. The response is 503 if the test also fails.",
        tag="Health",
        responses={
            "200": response("Orders can be stored and read.", json=_READY, example={"status": "ok", "paused": False})
        },
        problems=STORAGE,
        needs_key=False,
        has_limit=False,
    )
