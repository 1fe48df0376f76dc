"""Hooks that tell Schemathesis what the OpenAPI document can't express. `tests/schemathesis.toml` names this module."""

import base64
import binascii
import json
from typing import Any

import schemathesis
from schemathesis import Case, HookContext, Response, SerializationContext
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.openapi.checks import RejectedPositiveData

from models.order import AMOUNT_PLACES
from models.parsing.order_body import MAX_AMOUNT


@schemathesis.serializer("application/x-ndjson")
def as_lines(context: SerializationContext, value: Any) -> bytes:
    """Writes each element of the array as a line. Examples from the document are already texts of lines."""
    if isinstance(value, str):
        return value.encode()
    lines = value if isinstance(value, list) else [value]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    for order in case.body if isinstance(case.body, list) else [case.body]:
        if isinstance(order, dict):
            write_numbers_as_the_api_requires(order)
    # The schema accepts any string as a cursor, but the server rejects most strings.
    if not is_negative(case) and not is_cursor((case.query or {}).get("cursor", "")):
        case.query.pop("cursor", None)


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case[Any], response: Response) -> bool:
    """Ignores false failures of `POST /orders`: a 202 can have invalid orders, which its body lists."""
    if case.operation.label != "POST /orders":
        return True
    body = response.json()
    if isinstance(failure, AcceptedNegativeData):
        return not body["rejected_total"]
    if isinstance(failure, RejectedPositiveData):
        # A 409 is not a failure: another order with the same id is already stored.
        return {rejection["status"] for rejection in body.get("rejected", [])} != {409}
    return True


def write_numbers_as_the_api_requires(order: dict[str, Any]) -> None:
    """Rounds amounts to four decimal places, and writes integers without a point. JSON Schema can require neither."""
    amount = order.get("total_amount")
    if isinstance(amount, float) and 0 <= amount <= MAX_AMOUNT:
        order["total_amount"] = round(amount, AMOUNT_PLACES)
    for name in ("order_id", "user_id"):
        if name in order:
            order[name] = as_integer(order[name])
    if isinstance(order.get("item_ids"), list):
        order["item_ids"] = [as_integer(item) for item in order["item_ids"]]


def as_integer(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def is_negative(case: Case[Any]) -> bool:
    return case.meta is not None and case.meta.generation.mode.is_negative


def is_cursor(text: str) -> bool:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).startswith(b"1:")
    except (binascii.Error, ValueError):
        return False
