"""Many orders in one text: each is good or bad for itself. Pure functions: they belong to no thread."""

import json
import re
from collections.abc import Sequence

import msgspec

from models.errors import FieldError, InvalidOrderError, NotJsonError
from models.parsing.order_parser import parse_order, parse_plain_array, parse_plain_orders
from models.parsing.strict_json import MAX_DEPTH, pointer, read_json, refuse_constant
from models.writes import NewOrder

MAX_ORDERS = 1_000
"""How many orders an array may hold."""
MAX_ORDER_BYTES = 64 * 1024

_MAX_COMMAS = 64 * MAX_ORDERS
"""An array with more is read one element at a time, for it may have as many elements."""

_TOO_LONG = f"must be at most {MAX_ORDER_BYTES} bytes of JSON"
_decode_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
_SPACE = re.compile(r"[ \t\n\r]*")
# Numbers stay text: those of more than some thousand digits are none for Python.
_scan = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=refuse_constant).raw_decode


def parse_array(body: bytes) -> Sequence[NewOrder | bytes]:
    """The orders of a JSON array, if all of them are good ones without metadata; else the texts of its elements.

    Raises what `split_array` raises.
    """
    orders = parse_plain_array(body, most=MAX_ORDERS)
    return split_array(body) if orders is None else orders


def split_array(body: bytes) -> list[bytes]:
    """The texts of the elements of a JSON array, which are not looked into.

    Raises NotJsonError, or InvalidOrderError where it is no array of at most `MAX_ORDERS` elements, none of them much
    longer than an order may be. A body that holds a million of whatever costs no more than a small multiple of its own
    length.
    """
    return _split_at_once(body) or _split_one_by_one(body)


def _split_at_once(body: bytes) -> list[bytes] | None:
    """The same in a tenth of the time; None says nothing.

    Where an element is nested about as deep as Python goes, only one of the two may take it.
    """
    if body.count(b",") > _MAX_COMMAS:
        return None
    try:
        elements = _decode_elements(body)
    except (msgspec.DecodeError, RecursionError):
        return None
    if len(elements) > MAX_ORDERS:
        return None
    texts = [bytes(element) for element in elements]
    return None if max(map(len, texts), default=0) > MAX_ORDER_BYTES else texts


def _split_one_by_one(body: bytes) -> list[bytes]:
    # Bytes that are no UTF-8 come through: they are one order's fault.
    text = body.decode(errors="surrogateescape")
    place = _after_space(text, 0)
    if text[place : place + 1] != "[":
        if len(body) <= MAX_ORDER_BYTES:
            read_json(body)  # what isn't JSON is told so
        raise InvalidOrderError([FieldError(pointer(), "must be an array of orders")])
    place = _after_space(text, place + 1)
    elements: list[bytes] = []
    separator = "]" if text[place : place + 1] == "]" else ","
    end = place if separator == "," else place + 1
    while separator == ",":
        if len(elements) == MAX_ORDERS:
            raise InvalidOrderError([FieldError(pointer(), f"must hold at most {MAX_ORDERS} orders")])
        place = _after_space(text, end)
        end = place + _length_of_element(text[place : place + MAX_ORDER_BYTES + 1], len(elements))
        elements.append(text[place:end].encode(errors="surrogateescape"))
        end = _after_space(text, end)
        separator = text[end : end + 1]
        end += 1
    if separator != "]" or _after_space(text, end) != len(text):
        raise NotJsonError(f"not a JSON array at character {end}")
    return elements


def _after_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


def _length_of_element(text: str, index: int) -> int:
    """How long the JSON value is that the text begins with."""
    try:
        _, length = _scan(text)
    except json.JSONDecodeError as error:
        if len(text) > MAX_ORDER_BYTES:
            raise InvalidOrderError([FieldError(pointer(index), _TOO_LONG)]) from None
        raise NotJsonError(f"{error.msg} in element {index}") from None
    except RecursionError:
        raise NotJsonError(f"nested deeper than {MAX_DEPTH} levels in element {index}") from None
    return length


def parse_orders(texts: Sequence[bytes]) -> list[NewOrder | NotJsonError | InvalidOrderError]:
    """For each text the order that it is, or what is wrong with it."""
    if max(map(len, texts), default=0) <= MAX_ORDER_BYTES and (orders := parse_plain_orders(texts)):
        return [*orders]
    return [_parse(text) for text in texts]


def _parse(text: bytes) -> NewOrder | NotJsonError | InvalidOrderError:
    if len(text) > MAX_ORDER_BYTES:
        return InvalidOrderError([FieldError(pointer(), _TOO_LONG)])
    try:
        return parse_order(text)
    except (NotJsonError, InvalidOrderError) as error:
        # Without what it passed through, which would keep the text of every order alive.
        return error.with_traceback(None)


class Lines:
    """The lines of a text that comes in parts, numbered from 0; blank ones are left out, but counted.

    Of a line longer than `MAX_ORDER_BYTES`, which is never taken for blank, no more is kept than shows that it is.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._count = 0

    def add(self, part: bytes) -> list[tuple[int, bytes]]:
        """The lines that this part ends."""
        *whole, rest = (self._rest + part).split(b"\n")
        self._rest = rest[: MAX_ORDER_BYTES + 1]
        lines = [
            (number, line)
            for number, line in enumerate(whole, self._count)
            if (line and not line.isspace()) or len(line) > MAX_ORDER_BYTES
        ]
        self._count += len(whole)
        return lines

    def end(self) -> list[tuple[int, bytes]]:
        """The last line, where nothing ended it."""
        return self.add(b"\n")
