"""Compares an order as it was sent with the order that the server returns. Pure functions, any thread.

Numbers keep their exact value when JSON is decoded: fractions are decimals.
"""

from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from load.cli.text import cut

SHOWN = 80
HIGHEST_EXPONENT, LOWEST_EXPONENT = 30, -30
COMPARED = ("order_id", "user_id", "item_ids", "metadata")
_decoder = msgspec.json.Decoder(float_hook=Decimal)


class BadJson(ValueError):
    """The bytes are no JSON."""


def decode_json(text: bytes) -> Any:
    """Decode JSON with fractions as Decimal and integers as int; BadJson if it is none."""
    try:
        return _decoder.decode(text)
    except (ValueError, RecursionError, InvalidOperation) as problem:
        raise BadJson(str(problem) or "no JSON") from None


def find_difference(sent: dict[str, Any], found: object) -> str:
    """Return the first value that differs and how, or "" if the order is as it was sent.

    Amounts are compared as decimals: 10.0 is 10.00, and a numeric string is sent for the number that is returned.
    """
    if not isinstance(found, dict):
        return "the answer is no JSON object"
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
    """Return what contradicts itself in an order with a terminal status, or ""; missing values are not checked.

    A Completed order has been tried, has no error, and was processed no sooner than it was created.
    """
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
    """Add an order's total_amount, if it has a plausible one.

    One above 10^30 or with more than 30 places was never sent, and would make the sum that many digits long.
    """
    more = _amount(found.get("total_amount")) if isinstance(found, dict) else None
    if more is None or more.adjusted() > HIGHEST_EXPONENT or int(more.as_tuple().exponent) < LOWEST_EXPONENT:
        return amount
    return amount + more


def _show(value: object) -> str:
    """Format a value so that strings and numbers differ; cuts long values."""
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
