"""What is an order and what is not. Pure functions: they belong to no thread.

A good order takes the fast path: one msgspec call, and one more for its metadata. msgspec stops at the first error and
lets the last of two equal keys win, so whatever the fast path can't vouch for is read again by the careful one, which
explains.
"""

import re
from collections.abc import Sequence
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, DecimalException, Inexact, InvalidOperation
from typing import Annotated, Any

import msgspec

from models.errors import FieldError, InvalidOrderError
from models.order import AMOUNT_PLACES, NewOrder
from models.strict_json import MAX_DEPTH, Number, Object, exact_decimal, pointer, read_json, repeated_keys

MAX_ID = 2**63 - 1
MAX_ITEMS = 1_000
MAX_AMOUNT = Decimal("9999999999.9999")
MAX_WHOLE_DIGITS = len(str(int(MAX_AMOUNT)))
MAX_METADATA_BYTES = 16 * 1024

Id = Annotated[int, msgspec.Meta(ge=1, le=MAX_ID)]


class OrderBody(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One order as a client sends it."""

    order_id: Id
    user_id: Id
    item_ids: Annotated[list[Id], msgspec.Meta(min_length=1, max_length=MAX_ITEMS)]
    # A number, as far as JSON goes: its digits are looked at one by one, which costs less than a Decimal.
    total_amount: msgspec.Raw
    # Kept as it was given.
    metadata: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_REQUIRED = ("order_id", "user_id", "item_ids", "total_amount")
_PLAIN_QUOTES = 2 * len(_REQUIRED)
_DECODER = msgspec.json.Decoder(OrderBody)
_ARRAY_DECODER = msgspec.json.Decoder(list[OrderBody])
_METADATA_DECODER = msgspec.json.Decoder(dict[str, Any])
_RAW_DECODER = msgspec.json.Decoder(dict[str, msgspec.Raw])
# More digits than an amount may have; where one is lost that is not zero, it is an error.
_EXACT = Context(prec=40, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[Inexact, InvalidOperation])
_SCALE = Decimal(10**AMOUNT_PLACES)
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def parse_order(body: bytes) -> NewOrder:
    """The order that `body` is.

    Raises NotJsonError, or InvalidOrderError with everything that is wrong.
    """
    try:
        order = _parse_fast(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        order = None
    return order or _parse_carefully(body)


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
    # Every JSON string has two quotes. A key that is repeated has been counted once and an amount that is a string not
    # at all, so there are more quotes where that is so.
    if body.count(b'"') != quotes:
        return None
    return NewOrder(order.order_id, order.user_id, order.item_ids, amount, metadata)


def _count_strings(value: Any, levels: int = MAX_DEPTH) -> int:
    """How many strings there are in a JSON value, different keys included.

    Raises RecursionError where it is nested deeper than that.
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


def _ten_thousandths(amount: Decimal) -> int | None:
    """The amount as an integer, or None where it is out of range or has more places."""
    # First, for an integer of as many digits as an exponent may have would take for ever to make; zero may have any.
    if not 0 <= amount <= MAX_AMOUNT:
        return None
    if not amount:
        return 0
    try:
        return int(_EXACT.to_integral_exact(_EXACT.multiply(amount, _SCALE)))
    except DecimalException:
        return None


def _parse_carefully(body: bytes) -> NewOrder:
    value = read_json(body)
    errors = list(repeated_keys(value))
    if not isinstance(value, Object):
        raise InvalidOrderError([FieldError(pointer(), "must be a JSON object")])
    errors += [FieldError(pointer(key), "is required") for key in _REQUIRED if key not in value]
    errors += [
        FieldError(pointer(key), "is not a field of an order")
        for key in value
        if key not in OrderBody.__struct_fields__
    ]
    order_id = _read_id(value, "order_id", errors)
    user_id = _read_id(value, "user_id", errors)
    item_ids = _read_items(value, errors)
    amount = _read_amount(value, errors)
    metadata = _read_metadata(value, body, errors)
    if errors:
        raise InvalidOrderError(errors, order_id=order_id or None)
    return NewOrder(order_id, user_id, item_ids, amount, metadata)


def _integer(value: Any) -> int | None:
    """`value` as an id, or None. Longer digits than any id has are not converted: that would take quadratic time."""
    if isinstance(value, Number) and value.isdigit() and len(value) <= len(str(MAX_ID)) and 1 <= int(value) <= MAX_ID:
        return int(value)
    return None


def _read_id(fields: Object, name: str, errors: list[FieldError]) -> int:
    number = _integer(fields.get(name))
    if number is None:
        if name in fields:
            errors.append(FieldError(pointer(name), f"must be an integer from 1 to {MAX_ID}"))
        return 0
    return number


def _read_items(fields: Object, errors: list[FieldError]) -> list[int]:
    if "item_ids" not in fields:
        return []
    items = fields["item_ids"]
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_ITEMS:
        errors.append(FieldError(pointer("item_ids"), f"must be an array of 1 to {MAX_ITEMS} integers"))
        return []
    item_ids = []
    for index, item in enumerate(items):
        number = _integer(item)
        if number is None:
            errors.append(FieldError(pointer("item_ids", index), f"must be an integer from 1 to {MAX_ID}"))
        else:
            item_ids.append(number)
    return item_ids


def _read_amount(fields: Object, errors: list[FieldError]) -> int:
    if "total_amount" not in fields:
        return 0
    text = fields["total_amount"]
    if not isinstance(text, str) or not _JSON_NUMBER.fullmatch(text):
        errors.append(FieldError(pointer("total_amount"), "must be a number, or a string that holds one"))
        return 0
    exact = exact_decimal(text)
    if exact is None or not 0 <= exact <= MAX_AMOUNT:
        errors.append(FieldError(pointer("total_amount"), f"must be from 0 to {MAX_AMOUNT}"))
        return 0
    amount = _ten_thousandths(exact)
    if amount is None:
        errors.append(FieldError(pointer("total_amount"), f"must have at most {AMOUNT_PLACES} decimal places"))
        return 0
    return amount


def _read_metadata(fields: Object, body: bytes, errors: list[FieldError]) -> str | None:
    if "metadata" not in fields:
        return None
    if not isinstance(fields["metadata"], Object):
        errors.append(FieldError(pointer("metadata"), "must be a JSON object"))
        return None
    try:
        raw = bytes(_RAW_DECODER.decode(body)["metadata"])
    except msgspec.DecodeError:
        # JSON's grammar allows "\\ud800", which no Unicode text can hold (RFC 8259 §8.2).
        errors.append(FieldError(pointer("metadata"), "must not hold half of a surrogate pair"))
        return None
    if len(raw) > MAX_METADATA_BYTES:
        errors.append(FieldError(pointer("metadata"), f"must be at most {MAX_METADATA_BYTES} bytes of JSON"))
    return raw.decode()
