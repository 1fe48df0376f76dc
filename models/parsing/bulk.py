"""Parses many orders: the elements of a JSON array, or the lines of a stream. Pure functions, and the class `Lines`.

Each order is valid or invalid on its own.
"""

import json
import re
from collections.abc import Sequence

import msgspec

from models.errors import FieldError, InvalidOrderError, NotJsonError
from models.parsing.order_parser import parse_array_fast, parse_order, parse_orders_fast
from models.parsing.strict_json import MAX_DEPTH, pointer, read_json, refuse_constant
from models.writes import NewOrder

MAX_ORDERS = 1_000
"""The maximum number of orders in an array."""
MAX_ORDER_BYTES = 64 * 1024

_MAX_COMMAS = 64 * MAX_ORDERS
"""An array with more commas is split element by element, because it may have as many elements as commas."""

_TOO_LONG = f"must be at most {MAX_ORDER_BYTES} bytes of JSON"
_decode_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
_SPACE = re.compile(r"[ \t\n\r]*")
# Keeps numbers as text, because Python refuses to convert a number of several thousand digits.
_scan = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=refuse_constant).raw_decode


def parse_array(body: bytes) -> Sequence[NewOrder | bytes]:
    """The orders of a JSON array, if all are valid and have no metadata; otherwise the texts of its elements.

    Raises the errors of `split_array`.
    """
    orders = parse_array_fast(body, max_orders=MAX_ORDERS)
    return split_array(body) if orders is None else orders


def split_array(body: bytes) -> list[bytes]:
    """The texts of the elements of a JSON array. Does not validate the elements.

    Raises NotJsonError, and InvalidOrderError if the body is not an array, has more than `MAX_ORDERS` elements, or has
    an element that is too long. Time and memory are proportional to the length of the body, also if it has a million
    elements.
    """
    return split_array_fast(body) or _split_by_element(body)


def split_array_fast(body: bytes) -> list[bytes] | None:
    """The same in a tenth of the time; None if `_split_by_element` must decide.

    Near Python's recursion limit the two may differ: one may accept an element that is too deep for the other.
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


def _split_by_element(body: bytes) -> list[bytes]:
    # Accepts bytes that are not UTF-8: they make one order invalid, not the whole array.
    text = body.decode(errors="surrogateescape")
    place = _skip_space(text, 0)
    if text[place : place + 1] != "[":
        if len(body) <= MAX_ORDER_BYTES:
            read_json(body)  # raises NotJsonError if it is not JSON
        raise InvalidOrderError([FieldError(pointer(), "must be an array of orders")])
    place = _skip_space(text, place + 1)
    elements: list[bytes] = []
    separator = "]" if text[place : place + 1] == "]" else ","
    end = place if separator == "," else place + 1
    while separator == ",":
        if len(elements) == MAX_ORDERS:
            raise InvalidOrderError([FieldError(pointer(), f"must hold at most {MAX_ORDERS} orders")])
        place = _skip_space(text, end)
        end = place + _element_length(text[place : place + MAX_ORDER_BYTES + 1], len(elements))
        elements.append(text[place:end].encode(errors="surrogateescape"))
        end = _skip_space(text, end)
        separator = text[end : end + 1]
        end += 1
    if separator != "]" or _skip_space(text, end) != len(text):
        raise NotJsonError(f"not a JSON array at character {end}")
    return elements


def _skip_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


def _element_length(text: str, index: int) -> int:
    """The length of the JSON value at the beginning of the text, in characters."""
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
    """For each text its order, or its error. The errors are returned, not raised."""
    if max(map(len, texts), default=0) <= MAX_ORDER_BYTES and (orders := parse_orders_fast(texts)):
        return [*orders]
    return [_parse(text) for text in texts]


def _parse(text: bytes) -> NewOrder | NotJsonError | InvalidOrderError:
    if len(text) > MAX_ORDER_BYTES:
        return InvalidOrderError([FieldError(pointer(), _TOO_LONG)])
    try:
        return parse_order(text)
    except (NotJsonError, InvalidOrderError) as error:
        # The traceback would keep the text of every invalid order in memory.
        return error.with_traceback(None)


class Lines:
    """Splits a text that arrives in parts into lines, numbered from 0. Omits blank lines, but counts them.

    Buffers at most `MAX_ORDER_BYTES` + 1 bytes of a line, enough to see that it is too long. A longer line is never
    treated as blank.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._count = 0

    def add(self, part: bytes) -> list[tuple[int, bytes]]:
        """The numbers and texts of the lines that end in this part."""
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
        """The last line, if it has no line feed."""
        return self.add(b"\n")
