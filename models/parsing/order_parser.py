"""Parses the body of one order, or of many orders without metadata. Pure functions.

The fast path makes one call of msgspec for an order, and a second call for its metadata. But msgspec reports only the
first error and accepts repeated keys. Therefore the slow path (`models/parsing/validation.py`) parses every body that
the fast path does not accept. The slow path accepts every valid order and finds every error.
"""

import re
from collections.abc import Sequence
from operator import attrgetter, itemgetter
from typing import Any

import msgspec

from models.errors import MAX_LISTED_ERRORS
from models.order import AMOUNT_PLACES
from models.parsing.order_body import MAX_METADATA_BYTES, MAX_WHOLE_DIGITS, REQUIRED, OrderBody
from models.parsing.steps import run_to_end
from models.parsing.strict_json import BYTE_ORDER_MARK, MAX_DEPTH
from models.parsing.validation import parse_with_all_errors
from models.writes.insertion import NewOrder

_QUOTES_OF_REQUIRED = 2 * len(REQUIRED)
"""The number of quotation marks in the JSON of an order that has no metadata: two for each key. Its amount is a number,
not a string."""
_AMOUNT = rb"[0-9]{1,%d}+(?:\.[0-9]{1,%d}+)?" % (MAX_WHOLE_DIGITS, AMOUNT_PLACES)
_AMOUNTS = re.compile(rb"(?:%s,)*%s" % (_AMOUNT, _AMOUNT))
"""Amounts, separated by commas, that need no rounding. Only digits have possessive quantifiers: those of groups do not
match correctly in Python 3.11.2. Each comma ends one amount, so the time is proportional to the length of the text."""
_TEN_THOUSAND = float(10**AMOUNT_PLACES)
_FLOATS_DECODER = msgspec.json.Decoder(list[float])
_total_amount = attrgetter("total_amount")
_first_byte, _last_byte = itemgetter(slice(1)), itemgetter(slice(-1, None))
_DECODER = msgspec.json.Decoder(OrderBody)
_ARRAY_DECODER = msgspec.json.Decoder(list[OrderBody])
# `float_hook` avoids the conversion to float, which takes 10 us for a very large exponent.
_METADATA_DECODER = msgspec.json.Decoder(dict[str, Any], float_hook=len)


def parse_order(body: bytes, *, max_listed: int = MAX_LISTED_ERRORS) -> NewOrder:
    """Parses one order. Skips one byte-order mark at the beginning.

    Raises NotJsonError if the body is not JSON, and InvalidOrderError if the JSON is not a valid order. The
    InvalidOrderError counts all errors, and lists the first `max_listed` errors.
    """
    order = parse_order_fast(body)
    return order or run_to_end(parse_with_all_errors(body.removeprefix(BYTE_ORDER_MARK), max_listed=max_listed))


def parse_order_fast(body: bytes) -> NewOrder | None:
    """The order; None if the slow path must parse the body."""
    try:
        order = _DECODER.decode(body)
        amount = _read_amount_fast(order.total_amount)
        if amount is None:
            return None
        metadata, quotes = None, _QUOTES_OF_REQUIRED
        if order.metadata is not msgspec.UNSET:
            quotes += 2
            if (text := bytes(order.metadata)) != b"null":
                if len(text) > MAX_METADATA_BYTES:
                    return None
                metadata = text.decode()
                quotes += 2 * _count_strings(_METADATA_DECODER.decode(text))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    # Detects repeated keys and escaped quotes. `quotes` counts two quotes for each decoded string, a repeated key only
    # once, and no escaped quotes. So the body has more quotes than `quotes` if a key is repeated or a quote is escaped.
    if body.count(b'"') != quotes:
        return None
    return NewOrder(order.order_id, order.user_id, order.item_ids, amount, metadata)


def _count_strings(value: Any, levels: int = MAX_DEPTH) -> int:
    """Counts the strings and keys in a JSON value. Raises RecursionError if the value has more than `levels` levels."""
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

    None if the array contains anything else: the caller must then parse each element on its own.
    """
    if found := parse_bodies_fast(array, max_orders=max_orders):
        return [
            NewOrder(order.order_id, order.user_id, order.item_ids, amount)
            for order, amount in zip(*found, strict=True)
        ]
    return None


def parse_bodies_fast(array: bytes, *, max_orders: int) -> tuple[list[OrderBody], list[int]] | None:
    """Like `parse_array_fast`, but returns the bodies of the orders, and their amounts in ten-thousandths."""
    # If each order has exactly this number of quotes, the required keys are the only strings.
    count, rest = divmod(array.count(b'"'), _QUOTES_OF_REQUIRED)
    if rest or not 0 < count <= max_orders:
        return None
    try:
        orders = _ARRAY_DECODER.decode(array)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    amounts = _read_amounts_fast(orders)
    return None if len(orders) != count or amounts is None else (orders, amounts)


def parse_orders_fast(texts: Sequence[bytes]) -> list[NewOrder] | None:
    """The orders in these texts; None if one of the texts is not an order or has metadata.

    A call takes a third of the time that it takes to parse the texts one by one.
    """
    # `parse_array_fast` accepts no strings except keys, so each brace begins or ends an order. Therefore no order can
    # begin in one text and end in the next if each text begins and ends with a brace.
    if set(map(_first_byte, texts)) != {b"{"} or set(map(_last_byte, texts)) != {b"}"}:
        return None
    orders = parse_array_fast(b"[" + b",".join(texts) + b"]", max_orders=len(texts))
    return orders if orders and len(orders) == len(texts) else None


def _read_amounts_fast(orders: Sequence[OrderBody]) -> list[int] | None:
    """Converts the amounts of these orders to ten-thousandths. Returns None if the slow path must read one of them."""
    text = b",".join(map(_total_amount, orders))
    if not _AMOUNTS.fullmatch(text):
        return None
    # Exact: a float with 14 significant digits, multiplied by 10,000, differs from the integer by less than 0.1.
    return [round(amount * _TEN_THOUSAND) for amount in _FLOATS_DECODER.decode(b"[%s]" % text)]


def _read_amount_fast(value: msgspec.Raw) -> int | None:
    """Converts an amount such as `12.50` to ten-thousandths. Returns None if the slow path must read the amount.

    The caller must ensure that the value is valid JSON: this function also accepts `01`, `1.` and `1_0`.
    """
    whole, _, places = bytes(value).partition(b".")
    if len(whole) > MAX_WHOLE_DIGITS or len(places) > AMOUNT_PLACES:
        return None
    try:
        amount = int(whole + places.ljust(AMOUNT_PLACES, b"0"))
    except ValueError:
        return None
    return amount if amount >= 0 else None
