"""The fingerprint of an order, with which a repeated order is recognized after its values were deleted. Pure functions.

The store keeps the fingerprint of each archived and each erased order. Two orders with the same id have the same
fingerprint if `models.identity.same_order.is_same_order` is true for them. Otherwise, the fingerprints differ, except
with a probability of 2⁻⁶⁴.
"""

import json
from decimal import Decimal
from hashlib import blake2b
from typing import Any

from models.order import Order
from models.parsing.strict_json import exact_decimal
from models.writes.insertion import NewOrder

_BYTES = 8


class _Number(str):
    """A number in its shortest form, in which equal numbers are equal texts."""

    __slots__ = ()


def fingerprint(order: NewOrder | Order) -> int:
    """The first 64 bits of a hash of the id, the user, the items, the amount and the metadata, as a signed integer."""
    metadata = "" if order.metadata is None else _canonical(order.metadata)
    text = f"{order.order_id} {order.user_id} {order.total_amount} {order.item_ids} {metadata}"
    # The metadata can contain halves of surrogate pairs.
    hashed = blake2b(text.encode(errors="surrogatepass"), digest_size=_BYTES).digest()
    return int.from_bytes(hashed, signed=True)


def _canonical(text: str) -> str:
    """JSON texts with equal values have the same canonical text: see `models.parsing.strict_json.same_value`."""
    return _encode(json.loads(text, parse_int=_number, parse_float=_number))


def _encode(value: Any) -> str:
    if isinstance(value, dict):
        members = ",".join(f"{json.dumps(key)}:{_encode(value[key])}" for key in sorted(value))
        return f"{{{members}}}"
    if isinstance(value, list):
        return f"[{','.join(map(_encode, value))}]"
    return value if isinstance(value, _Number) else json.dumps(value)


def _number(text: str) -> _Number:
    number = exact_decimal(text)
    return _Number(text if number is None else _shortest(number))


def _shortest(number: Decimal) -> str:
    sign, digits, exponent = number.as_tuple()
    significant = "".join(map(str, digits)).lstrip("0")
    shortened = significant.rstrip("0")
    if not shortened or not isinstance(exponent, int):
        return "0"
    return f"{'-' if sign else ''}{shortened}e{exponent + len(significant) - len(shortened)}"
