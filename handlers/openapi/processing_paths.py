"""Describes the paths that pause and resume processing. Pure functions."""

from handlers.openapi.operations import operation, response
from handlers.openapi.problems import ACTION, STORAGE
from handlers.openapi.schemas import Schema

_TAG = "Processing"


def processing_paths() -> dict[str, Schema]:
    """The operations, by path and method."""
    return {
        "/processing/pause": {"post": _pause()},
        "/processing/resume": {"post": _resume()},
    }


def _pause() -> Schema:
    return operation(
        "pauseProcessing",
        "Pause processing",
        "Orders are still accepted, but not processed. Running attempts end normally. The pause lasts until processing "
        "is resumed, also if the server is restarted. A second request changes nothing.",
        tag=_TAG,
        responses={"200": _state(is_paused=True)},
        problems=[*ACTION, *STORAGE],
    )


def _resume() -> Schema:
    return operation(
        "resumeProcessing",
        "Resume processing",
        "Orders are processed again, oldest first. If webhooks are paused because the receiver is busy or unreachable, "
        "the next one is sent now.",
        tag=_TAG,
        responses={"200": _state(is_paused=False)},
        problems=[*ACTION, *STORAGE],
    )


def _state(*, is_paused: bool) -> Schema:
    schema: Schema = {"type": "object", "properties": {"paused": {"const": is_paused}}, "required": ["paused"]}
    return response("The new state.", json=schema, example={"paused": is_paused})
