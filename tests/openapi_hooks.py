"""What Schemathesis is told about the API that its document can't say; `tests/schemathesis.toml` names this module."""

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
    """One element of the array a line; an example is written so already."""
    if isinstance(value, str):
        return value.encode()
    lines = value if isinstance(value, list) else [value]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    for order in case.body if isinstance(case.body, list) else [case.body]:
        if isinstance(order, dict):
            write_numbers_as_the_api_wants_them(order)
    # A text of any kind is a string, but no cursor.
    if not is_negative(case) and not is_cursor((case.query or {}).get("cursor", "")):
        case.query.pop("cursor", None)


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case[Any], response: Response) -> bool:
    """A bad order of many fails alone: what does not fit the schema shows in the answer, not in its status."""
    if case.operation.label != "POST /orders":
        return True
    body = response.json()
    if isinstance(failure, AcceptedNegativeData):
        return not body["rejected_total"]
    if isinstance(failure, RejectedPositiveData):
        # Each of them had the id of another order.
        return {rejection["status"] for rejection in body.get("rejected", [])} != {409}
    return True


def write_numbers_as_the_api_wants_them(order: dict[str, Any]) -> None:
    """No more than four decimal places, and integers without a point: JSON Schema has no words for either."""
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
