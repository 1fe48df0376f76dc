"""What is an order and what is not. Pure functions: they belong to no thread.

A good order takes the fast path: one msgspec call, and one more for its metadata. msgspec stops at the first error and
lets the last of two equal keys win, so whatever the fast path can't vouch for is read again by the careful one
(`models/parsing/all_errors.py`), which explains.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from models.order import AMOUNT_PLACES
from models.parsing.all_errors import parse_with_all_errors
from models.parsing.order_body import MAX_METADATA_BYTES, MAX_WHOLE_DIGITS, REQUIRED, OrderBody
from models.parsing.strict_json import MAX_DEPTH
from models.writes import NewOrder

_PLAIN_QUOTES = 2 * len(REQUIRED)
_DECODER = msgspec.json.Decoder(OrderBody)
_ARRAY_DECODER = msgspec.json.Decoder(list[OrderBody])
# No floats are made, whatever stands for them: those with the largest exponents would take 10 us each.
_METADATA_DECODER = msgspec.json.Decoder(dict[str, Any], float_hook=len)


def parse_order(body: bytes) -> NewOrder:
    """The order that `body` is.

    Raises NotJsonError, or InvalidOrderError with everything that is wrong.
    """
    try:
        order = _parse_fast(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        order = None
    return order or parse_with_all_errors(body)


def _parse_fast(body: bytes) -> NewOrder | None:
    """The order that `body` is; None says nothing, nor does what msgspec raises."""
    order = _DECODER.decode(body)
    amount = _plain_amount(order.total_amount)
    if amount is None:
        return None
    metadata, quotes = None, _PLAIN_QUOTES
    if order.metadata is not msgspec.UNSET:
        text = bytes(order.metadata)
        if len(text) > MAX_METADATA_BYTES:
            return None
        metadata = text.decode()
        quotes += 2 + 2 * _count_strings(_METADATA_DECODER.decode(text))
    # Every JSON string has two quotes. A repeated key has been counted once and an escaped quote not at all: with
    # either of them there are more quotes than were counted.
    if body.count(b'"') != quotes:
        return None
    return NewOrder(order.order_id, order.user_id, order.item_ids, amount, metadata)


def _count_strings(value: Any, levels: int = MAX_DEPTH) -> int:
    """How many strings there are in a JSON value, different keys included.

    Raises RecursionError where it is nested deeper than that, as msgspec does at a depth of its own.
    """
    if isinstance(value, str):
        return 1
    if not isinstance(value, (dict, list)):
        return 0
    if not levels:
        raise RecursionError
    if isinstance(value, list):
        return sum(_count_strings(child, levels - 1) for child in value)
    return len(value) + sum(_count_strings(child, levels - 1) for child in value.values())


def parse_plain_array(array: bytes, *, most: int) -> list[NewOrder] | None:
    """The orders of a JSON array of `most` at most, if all of them are good ones without metadata; else None.

    None says nothing: each of them has to be looked at for itself.
    """
    # As for a single one: with eight quotes an order there is no string but its required keys.
    count, rest = divmod(array.count(b'"'), _PLAIN_QUOTES)
    if rest or not 0 < count <= most:
        return None
    try:
        orders = _ARRAY_DECODER.decode(array)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    amounts = [_plain_amount(order.total_amount) for order in orders]
    if len(orders) != count or None in amounts:
        return None
    return [
        NewOrder(order.order_id, order.user_id, order.item_ids, amount or 0)
        for order, amount in zip(orders, amounts, strict=True)
    ]


def parse_plain_orders(texts: Sequence[bytes]) -> list[NewOrder] | None:
    """The same for orders that are texts of their own, in a third of the time that it takes one by one."""
    # Without strings there are no braces but the objects' own, and so none of the texts, which begin and end with one,
    # can be half of what another one begins.
    if not all(text.startswith(b"{") and text.endswith(b"}") for text in texts):
        return None
    orders = parse_plain_array(b"[" + b",".join(texts) + b"]", most=len(texts))
    return orders if orders and len(orders) == len(texts) else None


def _plain_amount(value: msgspec.Raw) -> int | None:
    """The ten-thousandths of a number that is written as an amount usually is; None for any other JSON.

    That it is JSON has been seen to: of `01`, `1.` and `1_0`, which are not, it would make something.
    """
    whole, _, places = bytes(value).partition(b".")
    if len(whole) > MAX_WHOLE_DIGITS or len(places) > AMOUNT_PLACES:
        return None
    try:
        amount = int(whole + places.ljust(AMOUNT_PLACES, b"0"))
    except ValueError:
        return None
    return amount if amount >= 0 else None
