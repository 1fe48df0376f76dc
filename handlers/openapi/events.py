"""How an event of a stream is described, whichever it is. Pure."""

from handlers.openapi.schemas import Schema


def event(name: str, description: str, data: Schema, *, has_id: bool) -> Schema:
    """An event of a stream, as OpenAPI 3.2 describes one; there it would be an `itemSchema`."""
    described: Schema = {
        "description": description,
        "type": "object",
        "properties": {
            "event": {"const": name},
            "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": data},
        },
        "required": ["event", "data"],
    }
    if has_id:
        described["properties"]["id"] = {"description": "What `Last-Event-ID` goes on from.", "type": "string"}
        described["required"].append("id")
    return described


def one_of(*events: Schema) -> Schema:
    """What each event of a stream is."""
    return {"description": "One event of the stream.", "oneOf": list(events)}
