"""Compares sent orders with the orders that the server returns. Any thread.

Numbers in JSON keep their exact value: fractions are decoded as Decimal.
"""

from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from load.cli.errors import cut

SHOWN = 80
HIGHEST_EXPONENT, LOWEST_EXPONENT = 30, -30
COMPARED = ("order_id", "user_id", "item_ids", "metadata")
_decoder = msgspec.json.Decoder(float_hook=Decimal)


class BadJson(ValueError):
    """The body of a response is not JSON."""


def decode_json(text: bytes) -> Any:
    """Decode JSON with fractions as Decimal and integers as int. Raises BadJson if the text is not JSON."""
    try:
        return _decoder.decode(text)
    except (ValueError, RecursionError, InvalidOperation) as problem:
        raise BadJson(str(problem) or "no JSON") from None


def difference_in(sent: dict[str, Any], found: object) -> str:
    """Return how `found` differs from `sent`, or "". Amounts are compared by value: 10.0 equals 10.00 and "10"."""
    if not isinstance(found, dict):
        return "the answer is not a JSON object"
    for name in COMPARED:
        if not _is_same(sent.get(name), found.get(name)):
            return f"{name} is {_show(found.get(name))}, sent {_show(sent.get(name))}"
    given_back = found.get("total_amount")
    amount = _number(given_back)
    if amount is None or amount != _amount(sent.get("total_amount")):
        return f"total_amount is {_show(given_back)}, sent {_show(sent.get('total_amount'))}"
    if not isinstance(found.get("status"), str):
        return "it has no status"
    return ""


def find_contradiction(found: dict[str, Any]) -> str:
    """Return a contradiction in a processed order, such as Completed with an error, or "" if there is none."""
    created, processed = found.get("created_time"), found.get("processed_time")
    if found.get("status") == "Cancelled" or "processed_time" not in found:
        return ""
    if not isinstance(processed, str) or not isinstance(created, str) or processed < created:
        return f"processed_time is {_show(processed)}, created_time {_show(created)}"
    if found.get("status") != "Completed":
        return ""
    if found.get("error") is not None:
        return f"it is Completed with the error {_show(found['error'])}"
    for name, least in (("attempts", 1), ("processing_time", 0)):
        amount = _number(found.get(name, least))
        if amount is None or amount < least:
            return f"{name} is {_show(found.get(name))}"
    return ""


def sum_of(amount: Decimal, found: object) -> Decimal:
    """Return `amount` plus an order's total_amount, unless that is 10^31 or more or has over 30 decimal places."""
    more = _amount(found.get("total_amount")) if isinstance(found, dict) else None
    if more is None or more.adjusted() > HIGHEST_EXPONENT or int(more.as_tuple().exponent) < LOWEST_EXPONENT:
        return amount
    return amount + more


def _show(value: object) -> str:
    """Return a value as text. Strings get quotation marks, so that they differ from numbers. Long texts are cut."""
    return cut(f'"{value}"' if isinstance(value, str) else str(value), SHOWN)


def _amount(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (int, str, Decimal)):
        return None
    try:
        amount = Decimal(value)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None


def _number(value: object) -> Decimal | None:
    return None if isinstance(value, str) else _amount(value)


def _is_same(one: object, other: object) -> bool:
    """Compare two JSON values: numbers by exact value, lists in order; true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return one == other
