"""The slow path of `models/parsing/order_parser.py`: parses one order and reports every error in it. Pure functions."""

import re
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, DecimalException, Inexact, InvalidOperation
from typing import Any

import msgspec

from models.errors import FieldError, InvalidOrderError
from models.order import AMOUNT_PLACES
from models.parsing.order_body import MAX_AMOUNT, MAX_ID, MAX_ITEMS, MAX_METADATA_BYTES, REQUIRED, OrderBody
from models.parsing.strict_json import Number, Object, exact_decimal, pointer, read_json, repeated_keys
from models.writes import NewOrder

_RAW_DECODER = msgspec.json.Decoder(dict[str, msgspec.Raw])
# More digits than an amount may have. Rounding away a digit other than zero raises Inexact.
_EXACT = Context(prec=40, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[Inexact, InvalidOperation])
_SCALE = Decimal(10**AMOUNT_PLACES)
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def parse_with_all_errors(body: bytes) -> NewOrder:
    """Parses one order. Raises the errors of `order_parser.parse_order`."""
    value = read_json(body)
    errors = list(repeated_keys(value))
    if not isinstance(value, Object):
        raise InvalidOrderError([FieldError(pointer(), "must be a JSON object")])
    errors += [FieldError(pointer(key), "is required") for key in REQUIRED if key not in value]
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


def _read_integer(value: Any) -> int | None:
    """The value as an id, or None. Does not convert longer numbers, because that takes quadratic time."""
    if isinstance(value, Number) and value.isdigit() and len(value) <= len(str(MAX_ID)) and 1 <= int(value) <= MAX_ID:
        return int(value)
    return None


def _read_id(fields: Object, name: str, errors: list[FieldError]) -> int:
    number = _read_integer(fields.get(name))
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
        number = _read_integer(item)
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
    # Checked before the conversion: an exponent can ask for more digits than fit into memory.
    if exact is None or not 0 <= exact <= MAX_AMOUNT:
        errors.append(FieldError(pointer("total_amount"), f"must be from 0 to {MAX_AMOUNT}"))
        return 0
    amount = _ten_thousandths(exact)
    if amount is None:
        errors.append(FieldError(pointer("total_amount"), f"must have at most {AMOUNT_PLACES} decimal places"))
        return 0
    return amount


def _ten_thousandths(amount: Decimal) -> int | None:
    """An amount within the limits as an integer; None if it has more decimal places."""
    if not amount:  # a zero may have any exponent
        return 0
    try:
        return int(_EXACT.to_integral_exact(_EXACT.multiply(amount, _SCALE)))
    except DecimalException:
        return None


def _read_metadata(fields: Object, body: bytes, errors: list[FieldError]) -> str | None:
    if "metadata" not in fields:
        return None
    if not isinstance(fields["metadata"], Object):
        errors.append(FieldError(pointer("metadata"), "must be a JSON object"))
        return None
    try:
        raw = bytes(_RAW_DECODER.decode(body)["metadata"])
    except msgspec.DecodeError:
        # JSON's grammar allows "\\ud800", but Unicode text can't contain it (RFC 8259 §8.2).
        errors.append(FieldError(pointer("metadata"), "must not hold half of a surrogate pair"))
        return None
    if len(raw) > MAX_METADATA_BYTES:
        errors.append(FieldError(pointer("metadata"), f"must be at most {MAX_METADATA_BYTES} bytes of JSON"))
    return raw.decode()
