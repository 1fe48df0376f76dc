"""How one operation of the API is described, whichever it is. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any

from handlers.openapi.headers import ALWAYS, IF_LIMITED, header_references
from handlers.openapi.problems import EVERYWHERE, FOR_KEYS, FOR_LIMITS, responses_of_problems
from handlers.openapi.schemas import ID, Schema
from handlers.problems.problem import CONTENT_TYPE, ProblemType

README_ORDER: Schema = {"order_id": 12345, "user_id": 1, "item_ids": [101, 102, 103], "total_amount": 99.99}
ORDER_ID: Schema = {
    "name": "order_id",
    "in": "path",
    "required": True,
    "description": "The order's id, without zeros before it.",
    "schema": ID,
    "example": README_ORDER["order_id"],
}


def ref(name: str) -> Schema:
    """The schema of that name."""
    return {"$ref": f"#/components/schemas/{name}"}


def query(name: str, schema: Schema, description: str, *, required: bool = False) -> Schema:
    """A parameter in the URL's query."""
    return {"name": name, "in": "query", "required": required, "description": description, "schema": schema}


def answer(
    description: str,
    *,
    json: Schema | None = None,
    example: Any = None,
    content: dict[str, Schema] | None = None,
    headers: Iterable[str] = (),
    links: Schema | None = None,
) -> Schema:
    """A response: a JSON body with an example, or whatever `content` says."""
    if json is not None:
        content = {"application/json": {"schema": json}} | (content or {})
        if example is not None:
            content["application/json"]["example"] = example
    response: Schema = {"description": description, "headers": header_references(headers)}
    if content is not None:
        response["content"] = content
    if links is not None:
        response["links"] = links
    return response


def operation(
    operation_id: str,
    summary: str,
    description: str,
    *,
    tag: str,
    answers: dict[str, Schema],
    parameters: Sequence[Schema] = (),
    body: Schema | None = None,
    problems: Iterable[ProblemType] = (),
    broken_off: Schema | None = None,
    is_open: bool = False,
) -> Schema:
    """An operation with its own answers by status, its own problems, and what every operation has.

    `broken_off`: what a 503 says beside what any problem does. One that is open wants no key, and may be asked as
    often as one likes.
    """
    kinds = (*EVERYWHERE, *problems, *(() if is_open else (*FOR_KEYS, *FOR_LIMITS)))
    responses = answers | responses_of_problems(kinds)
    if broken_off is not None:
        problem = responses["503"]["content"][CONTENT_TYPE]
        problem["schema"] = {"allOf": [problem["schema"], broken_off]}
    for response in responses.values():
        response["headers"] |= header_references(ALWAYS if is_open else (*ALWAYS, *IF_LIMITED))
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
    if is_open:
        described["security"] = []
    return described
