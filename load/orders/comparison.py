"""Owns the comparison of an order as it was sent with the order that the server gives back; pure functions, any thread.

Numbers keep their exact value on the way from JSON: fractions are decimals.
"""

from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

SHOWN = 80
HIGHEST_EXPONENT, LOWEST_EXPONENT = 30, -30
COMPARED = ("order_id", "user_id", "item_ids", "metadata")
_decoder = msgspec.json.Decoder(float_hook=Decimal)


class BadJson(ValueError):
    """The text is no JSON."""


def decode_json(text: bytes) -> Any:
    """Decode JSON with fractions as Decimal and integers as int; BadJson when it is none."""
    try:
        return _decoder.decode(text)
    except (ValueError, RecursionError, InvalidOperation) as problem:
        raise BadJson(str(problem) or "no JSON") from None


def find_difference(sent: dict[str, Any], found: object) -> str:
    """Name the first value that differs and how, or give an empty text when the order is as it was sent.

    Amounts are compared as decimals: 10.0 is 10.00, and a numeric string is the number that comes back for it.
    """
    if not isinstance(found, dict):
        return "the answer is no JSON object"
    for name in COMPARED:
        if not _is_same(sent.get(name), found.get(name)):
            return f"{name} is {_show(found.get(name))}, sent {_show(sent.get(name))}"
    given_back = found.get("total_amount")
    amount = None if isinstance(given_back, str) else _amount(given_back)
    if amount is None or amount != _amount(sent.get("total_amount")):
        return f"total_amount is {_show(given_back)}, sent {_show(sent.get('total_amount'))}"
    if not isinstance(found.get("status"), str):
        return "it has no status"
    return ""


def find_contradiction(found: dict[str, Any]) -> str:
    """Name what can't be of an order that has come to its end, or give an empty text; what it lacks is not looked at.

    A Completed one has been tried, has no error, and ended no sooner than it came.
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
        given_back = found.get(name, least)
        amount = None if isinstance(given_back, str) else _amount(given_back)
        if amount is None or amount < least:
            return f"{name} is {_show(given_back)}"
    return ""


def sum_of(amount: Decimal, found: object) -> Decimal:
    """Add an order's total_amount, where it has one that a shop could mean.

    One beyond 10^30 or with more than 30 places differs from every order's, and would make a sum of that many digits.
    """
    more = _amount(found.get("total_amount")) if isinstance(found, dict) else None
    if more is None or more.adjusted() > HIGHEST_EXPONENT or int(more.as_tuple().exponent) < LOWEST_EXPONENT:
        return amount
    return amount + more


def _show(value: object) -> str:
    """Write a value so that a text can be told from a number; a long one is cut short."""
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _amount(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (int, str, Decimal)):
        return None
    try:
        amount = Decimal(value)
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None


def _is_same(one: object, other: object) -> bool:
    """Compare two JSON values: numbers by exact value, lists in order, and true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return one == other
