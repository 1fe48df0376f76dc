"""The slow path of `models/parsing/order_parser.py`: parses one order, and finds every error. Pure functions."""

import re
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, DecimalException, Inexact, InvalidOperation
from typing import Any

import msgspec

from models.order import AMOUNT_PLACES
from models.parsing.field_errors import FieldErrors
from models.parsing.json_pointer import ROOT
from models.parsing.order_body import MAX_AMOUNT, MAX_ID, MAX_ITEMS, MAX_METADATA_BYTES, REQUIRED, OrderBody
from models.parsing.steps import Steps
from models.parsing.strict_json import MAX_DEPTH, check_structure, exact_decimal, read_json, repeated_keys
from models.writes.insertion import NewOrder

_RAW_DECODER = msgspec.json.Decoder(dict[str, msgspec.Raw])
# 40 digits are more than a valid amount has. Rounding raises Inexact unless all removed digits are zeros.
_EXACT = Context(prec=40, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[Inexact, InvalidOperation])
_SCALE = Decimal(10**AMOUNT_PLACES)
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def parse_with_all_errors(body: bytes, *, max_listed: int) -> Steps[NewOrder]:
    """Parses one order. Raises the same exceptions as `order_parser.parse_order`."""
    value, has_repeated_keys = read_json(body)
    yield
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        check_structure(value)
        yield
    errors = FieldErrors(max_listed=max_listed)
    if has_repeated_keys:
        for path in (yield from repeated_keys(value)):
            errors.add(path, "is given more than once")
        yield
    if not isinstance(value, dict):
        errors.add(ROOT, "must be a JSON object")
        raise errors.as_exception()
    for key in REQUIRED:
        if key not in value:
            errors.add((ROOT, key), "is required")
    for key in value:
        if key not in OrderBody.__struct_fields__:
            errors.add((ROOT, key), "is not a field of an order")
    order_id = _read_id(value, "order_id", errors)
    user_id = _read_id(value, "user_id", errors)
    item_ids = _read_items(value, errors)
    amount = _read_amount(value, errors)
    metadata = _read_metadata(value, body, errors)
    if errors.total:
        raise errors.as_exception(order_id=order_id or None)
    return NewOrder(order_id, user_id, item_ids, amount, metadata)


def _is_id(value: Any) -> bool:
    # `isinstance` would also accept a bool.
    return type(value) is int and 1 <= value <= MAX_ID


def _read_id(fields: dict[str, Any], name: str, errors: FieldErrors) -> int:
    value: Any = fields.get(name)
    if not _is_id(value):
        if name in fields:
            errors.add((ROOT, name), f"must be an integer from 1 to {MAX_ID}")
        return 0
    return int(value)


def _read_items(fields: dict[str, Any], errors: FieldErrors) -> list[int]:
    if "item_ids" not in fields:
        return []
    items = fields["item_ids"]
    path = (ROOT, "item_ids")
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_ITEMS:
        errors.add(path, f"must be an array of 1 to {MAX_ITEMS} integers")
        return []
    for index, item in enumerate(items):
        if not _is_id(item):
            errors.add((path, index), f"must be an integer from 1 to {MAX_ID}")
    return items


def _read_amount(fields: dict[str, Any], errors: FieldErrors) -> int:
    if "total_amount" not in fields:
        return 0
    path = (ROOT, "total_amount")
    value = fields["total_amount"]
    text = str(value) if type(value) is int else value
    if not isinstance(text, str) or not _JSON_NUMBER.fullmatch(text):
        errors.add(path, "must be a number, or a string that holds one")
        return 0
    exact = exact_decimal(text)
    # Checked before the conversion, because a number with a large exponent can have more digits than fit into memory.
    if exact is None or not 0 <= exact <= MAX_AMOUNT:
        errors.add(path, f"must be from 0 to {MAX_AMOUNT}")
        return 0
    amount = _ten_thousandths(exact)
    if amount is None:
        errors.add(path, f"must have at most {AMOUNT_PLACES} decimal places")
        return 0
    return amount


def _ten_thousandths(amount: Decimal) -> int | None:
    """Converts a valid amount to ten-thousandths. Returns None if it has too many decimal places."""
    if not amount:  # a zero can have any exponent
        return 0
    try:
        return int(_EXACT.to_integral_exact(_EXACT.multiply(amount, _SCALE)))
    except DecimalException:
        return None


def _read_metadata(fields: dict[str, Any], body: bytes, errors: FieldErrors) -> str | None:
    if fields.get("metadata") is None:
        return None
    path = (ROOT, "metadata")
    if not isinstance(fields["metadata"], dict):
        errors.add(path, "must be a JSON object")
        return None
    try:
        raw = bytes(_RAW_DECODER.decode(body)["metadata"])
    except msgspec.DecodeError:
        # JSON's grammar allows "\\ud800", but Unicode text can't contain it (RFC 8259 §8.2).
        errors.add(path, "must not hold half of a surrogate pair")
        return None
    if len(raw) > MAX_METADATA_BYTES:
        errors.add(path, f"must be at most {MAX_METADATA_BYTES} bytes of JSON")
    return raw.decode()
