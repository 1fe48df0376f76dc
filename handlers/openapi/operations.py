"""Builds the description of one operation. Pure functions."""

from collections.abc import Iterable, Sequence
from typing import Any

from handlers.openapi.headers import ALWAYS, WITH_RATE_LIMIT, header_references
from handlers.openapi.problems import ON_EVERY_PATH, WITH_API_KEYS, WITH_LIMIT, responses_of_problems
from handlers.openapi.schemas import ID, Schema
from handlers.problems.problem import CONTENT_TYPE, ProblemType

README_ORDER: Schema = {"order_id": 12345, "user_id": 1, "item_ids": [101, 102, 103], "total_amount": 99.99}
ORDER_ID: Schema = {
    "name": "order_id",
    "in": "path",
    "required": True,
    "description": "The order's id, without leading zeros.",
    "schema": ID,
    "example": README_ORDER["order_id"],
}


def ref(name: str) -> Schema:
    """A reference to the schema with this name."""
    return {"$ref": f"#/components/schemas/{name}"}


def query(name: str, schema: Schema, description: str, *, required: bool = False) -> Schema:
    """A query parameter."""
    return {"name": name, "in": "query", "required": required, "description": description, "schema": schema}


def response(
    description: str,
    *,
    json: Schema | None = None,
    example: Any = None,
    content: dict[str, Schema] | None = None,
    headers: Iterable[str] = (),
    links: Schema | None = None,
) -> Schema:
    """A response with a JSON body and an example, or with `content` by media type."""
    if json is not None:
        content = {"application/json": {"schema": json}} | (content or {})
        if example is not None:
            content["application/json"]["example"] = example
    described: Schema = {"description": description, "headers": header_references(headers)}
    if content is not None:
        described["content"] = content
    if links is not None:
        described["links"] = links
    return described


def operation(
    operation_id: str,
    summary: str,
    description: str,
    *,
    tag: str,
    responses: dict[str, Schema],
    parameters: Sequence[Schema] = (),
    body: Schema | None = None,
    problems: Iterable[ProblemType] = (),
    unavailable: str | None = None,
    needs_key: bool = True,
    has_limit: bool = True,
) -> Schema:
    """An operation with its `responses` by status, the responses for `problems`, and the parts of every operation.

    If `unavailable` is given, the 503 has the schema of this name instead of the schemas of `problems`. `needs_key`
    says whether a server with API keys requires a key for this operation, `has_limit` whether a server with a rate
    limit limits this operation.
    """
    kinds = (*ON_EVERY_PATH, *problems, *(WITH_API_KEYS if needs_key else ()), *(WITH_LIMIT if has_limit else ()))
    responses = responses | responses_of_problems(kinds)
    if unavailable is not None:
        responses["503"]["content"][CONTENT_TYPE] = {"schema": ref(unavailable)}
    for each in responses.values():
        each["headers"] |= header_references((*ALWAYS, *WITH_RATE_LIMIT) if has_limit else ALWAYS)
    described: Schema = {
        "operationId": operation_id,
        "summary": summary,
        "description": description,
        "tags": [tag],
        "parameters": [*parameters, {"$ref": "#/components/parameters/X-Request-Id"}],
        "responses": dict(sorted(responses.items())),
    }
    if body is not None:
        described["requestBody"] = {"required": True, "content": body}
    if not needs_key:
        described["security"] = []
    return described
