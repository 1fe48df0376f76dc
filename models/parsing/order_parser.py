"""Parses the body of one order, or of many orders without metadata. Pure functions.

The fast path makes one msgspec call for an order, and another one for its metadata. msgspec reports only the first
error and accepts repeated keys, so a body that the fast path does not accept takes the slow path
(`models/parsing/validation.py`), which accepts every valid order and finds every error.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from models.errors import MAX_LISTED_ERRORS
from models.order import AMOUNT_PLACES
from models.parsing.order_body import MAX_METADATA_BYTES, MAX_WHOLE_DIGITS, REQUIRED, OrderBody
from models.parsing.steps import run_to_end
from models.parsing.strict_json import MAX_DEPTH
from models.parsing.validation import parse_with_all_errors
from models.writes import NewOrder

_QUOTES_OF_REQUIRED = 2 * len(REQUIRED)
"""How many quotes the body of an order without metadata has, if its amount is a number."""
_DECODER = msgspec.json.Decoder(OrderBody)
_ARRAY_DECODER = msgspec.json.Decoder(list[OrderBody])
# `float_hook` avoids floats: one with a very large exponent takes 10 us.
_METADATA_DECODER = msgspec.json.Decoder(dict[str, Any], float_hook=len)


def parse_order(body: bytes, *, max_listed: int = MAX_LISTED_ERRORS) -> NewOrder:
    """Parses one order.

    Raises NotJsonError if the body is not JSON, and InvalidOrderError if the JSON is not a valid order. That counts
    every error, and lists the first `max_listed` of them.
    """
    return parse_order_fast(body) or run_to_end(parse_with_all_errors(body, max_listed=max_listed))


def parse_order_fast(body: bytes) -> NewOrder | None:
    """The order; None if the slow path must decide."""
    try:
        order = _DECODER.decode(body)
        amount = _read_amount_fast(order.total_amount)
        if amount is None:
            return None
        metadata, quotes = None, _QUOTES_OF_REQUIRED
        if order.metadata is not msgspec.UNSET:
            text = bytes(order.metadata)
            if len(text) > MAX_METADATA_BYTES:
                return None
            metadata = text.decode()
            quotes += 2 + 2 * _count_strings(_METADATA_DECODER.decode(text))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    # Detects repeated keys and escaped quotes. Every JSON string has two quotes; a repeated key was counted only once
    # and an escaped quote was not counted, so the body has more quotes than were counted.
    if body.count(b'"') != quotes:
        return None
    return NewOrder(order.order_id, order.user_id, order.item_ids, amount, metadata)


def _count_strings(value: Any, levels: int = MAX_DEPTH) -> int:
    """The number of strings in a JSON value, including keys. Raises RecursionError below `levels` levels."""
    if isinstance(value, str):
        return 1
    if not isinstance(value, (dict, list)):
        return 0
    if not levels:
        raise RecursionError
    if isinstance(value, list):
        return sum(_count_strings(child, levels - 1) for child in value)
    return len(value) + sum(_count_strings(child, levels - 1) for child in value.values())


def parse_array_fast(array: bytes, *, max_orders: int) -> list[NewOrder] | None:
    """The orders of a JSON array of 1 to `max_orders` orders without metadata.

    None if anything else is in the array: then each element must be parsed on its own.
    """
    # With exactly these quotes for each order, the required keys are the only strings.
    count, rest = divmod(array.count(b'"'), _QUOTES_OF_REQUIRED)
    if rest or not 0 < count <= max_orders:
        return None
    try:
        orders = _ARRAY_DECODER.decode(array)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    amounts = [_read_amount_fast(order.total_amount) for order in orders]
    if len(orders) != count or None in amounts:
        return None
    return [
        NewOrder(order.order_id, order.user_id, order.item_ids, amount or 0)
        for order, amount in zip(orders, amounts, strict=True)
    ]


def parse_orders_fast(texts: Sequence[bytes]) -> list[NewOrder] | None:
    """The orders of these texts, if all are orders without metadata, else None. Three times as fast as one by one."""
    # `parse_array_fast` accepts no strings but keys, so each brace begins or ends an order. A text that begins and ends
    # with a brace is therefore a whole order, never half of one that continues in the next text.
    if not all(text.startswith(b"{") and text.endswith(b"}") for text in texts):
        return None
    orders = parse_array_fast(b"[" + b",".join(texts) + b"]", max_orders=len(texts))
    return orders if orders and len(orders) == len(texts) else None


def _read_amount_fast(value: msgspec.Raw) -> int | None:
    """The ten-thousandths of a JSON number in plain notation, such as `12.50`; None for any other JSON value.

    The value must be valid JSON: `01`, `1.` and `1_0` would be accepted.
    """
    whole, _, places = bytes(value).partition(b".")
    if len(whole) > MAX_WHOLE_DIGITS or len(places) > AMOUNT_PLACES:
        return None
    try:
        amount = int(whole + places.ljust(AMOUNT_PLACES, b"0"))
    except ValueError:
        return None
    return amount if amount >= 0 else None
