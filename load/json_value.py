"""Owns JSON whose numbers keep their exact value, and their comparison."""

from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

_decoder = msgspec.json.Decoder(float_hook=Decimal)


class BadJson(ValueError):
    """The text is no JSON."""


def decode_json(text: bytes) -> Any:
    """Decode JSON with fractions as Decimal and integers as int; BadJson when it is none."""
    try:
        return _decoder.decode(text)
    except (ValueError, RecursionError, InvalidOperation) as problem:
        raise BadJson(str(problem) or "no JSON") from None


def is_same(one: object, other: object) -> bool:
    """Compare two JSON values: numbers by exact value, lists in order, and true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return one == other
