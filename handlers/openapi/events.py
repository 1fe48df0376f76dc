"""Schemas of Server-Sent Events. Pure functions."""

from handlers.openapi.schemas import Schema


def event(name: str, description: str, data: Schema, *, has_id: bool) -> Schema:
    """The schema of one kind of event. OpenAPI 3.1 has no `itemSchema`, so it can't describe a stream."""
    schema: Schema = {
        "description": description,
        "type": "object",
        "properties": {
            "event": {"const": name},
            "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": data},
        },
        "required": ["event", "data"],
    }
    if has_id:
        schema["properties"]["id"] = {
            "description": "For `Last-Event-ID` after a reconnect.",
            "type": "string",
        }
        schema["required"].append("id")
    return schema


def one_of(*events: Schema) -> Schema:
    """The schema of one event of a stream that sends these kinds of events."""
    return {"description": "One event of the stream.", "oneOf": list(events)}
