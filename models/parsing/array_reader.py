"""Splits a JSON array of orders, in steps. Runs on the event loop, which runs other callbacks between the steps.

Each step reads one element, or reads a group of elements at once. A step takes about a millisecond at most:
its duration depends on `MAX_ORDER_BYTES` and `GROUP_BYTES`, not on the length of the array.
"""

import json
import re
from collections.abc import Generator, Iterable, Sequence
from typing import Any

import msgspec

from models.errors import FieldError, InvalidOrderError, NotJsonError
from models.parsing.json_pointer import ROOT, pointer
from models.parsing.order_body import MAX_ORDER_BYTES
from models.parsing.order_parser import parse_array_fast
from models.parsing.strict_json import BYTE_ORDER_MARK, MAX_DEPTH, read_json, refuse_constant
from models.writes.insertion import NewOrder

MAX_ORDERS = 1_000
"""The maximum number of orders in an array."""
GROUP_BYTES = 32 * 1024
"""The maximum size of a group of elements that one call of msgspec parses."""
TOO_LONG = f"must be at most {MAX_ORDER_BYTES} bytes of JSON"

_WINDOW_BYTES = 2 * MAX_ORDER_BYTES
_SPACE = re.compile(rb"[ \t\n\r]*")
_decode_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
# Keeps numbers as text, because Python refuses to convert a number of several thousand digits.
_scan = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=refuse_constant).raw_decode


def read_array(parts: Iterable[bytes]) -> Generator[None, None, list[NewOrder | bytes]]:
    """The elements of a JSON array, each as a parsed order or as a text that still must be parsed.

    `parts` are the parts of the body. Skips one byte-order mark at the beginning of the body. The texts are not
    validated: they can contain anything, even invalid UTF-8. Raises NotJsonError, and InvalidOrderError if the body is
    not an array, has more than `MAX_ORDERS` elements, or has an element that is too long. Each part must have at most
    64 KiB. Yields after each step.
    """
    return _ArrayReader(parts).read()


class _ArrayReader:
    """Reads the parts through a window of bytes. `_position` is the position of the next unread byte in the window."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = iter(parts)
        self._window = b""
        self._position = 0
        self._has_end = False
        # A group that begins before this position can't be parsed as a whole.
        self._no_groups_before = 0
        self._elements: list[NewOrder | bytes] = []

    def read(self) -> Generator[None, None, list[NewOrder | bytes]]:
        self._fill_window()
        if self._window.startswith(BYTE_ORDER_MARK):
            self._position = len(BYTE_ORDER_MARK)
        yield
        yield from self._skip_space()
        if self._next_byte() != b"[":
            self._refuse_other_json()
        self._position += 1
        yield from self._skip_space()
        separator = b"," if self._next_byte() != b"]" else b"]"
        if separator == b"]":
            self._position += 1
        while separator == b",":
            self._fill_window()
            separator = self._read_group()
            if not separator:
                yield from self._skip_space()
                self._read_element()
                yield from self._skip_space()
                separator = self._next_byte()
                self._position += 1
            yield
        yield from self._skip_space()
        if separator != b"]" or self._next_byte():
            raise NotJsonError(f"not a JSON array after {len(self._elements)} elements")
        return self._elements

    def _next_byte(self) -> bytes:
        """The next unread byte; empty at the end of the window."""
        return self._window[self._position : self._position + 1]

    def _fill_window(self) -> None:
        """Adds parts to the window until it has `_WINDOW_BYTES` unread bytes, or until the body ends."""
        size = len(self._window) - self._position
        if size >= _WINDOW_BYTES or self._has_end:
            return
        window = [self._window[self._position :]]
        self._no_groups_before -= self._position
        self._position = 0
        while size < _WINDOW_BYTES and not self._has_end:
            part = next(self._parts, None)
            if part is None:
                self._has_end = True
            else:
                window.append(part)
                size += len(part)
        self._window = b"".join(window)

    def _skip_space(self) -> Generator[None, None, None]:
        while True:
            if found := _SPACE.match(self._window, self._position):
                self._position = found.end()
            if self._position < len(self._window) or self._has_end:
                return
            self._fill_window()
            yield

    def _refuse_other_json(self) -> None:
        self._fill_window()
        if len(self._window) - self._position <= MAX_ORDER_BYTES:
            read_json(self._window[self._position :])  # raises NotJsonError if the body is not JSON
        raise InvalidOrderError([FieldError(pointer(ROOT).text, "must be an array of orders")])

    def _read_group(self) -> bytes:
        """Reads a group of elements and the separator after it. Returns the separator; empty if no group was read."""
        begin = self._position
        if begin < self._no_groups_before:
            return b""
        if self._has_end and len(self._window) - begin <= GROUP_BYTES:
            group, end, separator = b"[" + self._window[begin:], len(self._window), b"]"
        else:
            # Ends the group at a "},", probably the end of an order. If it is not, the group is not valid JSON, because
            # a string, an object or an array is not closed.
            end = self._window.rfind(b"},", begin, begin + GROUP_BYTES) + 2
            group, separator = b"[" + self._window[begin : end - 1] + b"]", b","
        elements = _parse_group(group) if end > begin else None
        if elements is None:
            self._no_groups_before = end
            return b""
        self._add(elements)
        self._position = end
        return separator

    def _read_element(self) -> None:
        self._fill_window()
        index = len(self._elements)
        # Accepts bytes that are not UTF-8: they must make only this order invalid, not the whole array.
        text = self._window[self._position : self._position + MAX_ORDER_BYTES + 1].decode(errors="surrogateescape")
        element = text[: _element_length(text, index)].encode(errors="surrogateescape")
        if len(element) > MAX_ORDER_BYTES:
            raise _too_long(index)
        self._add([element])
        self._position += len(element)

    def _add(self, elements: Sequence[NewOrder | bytes]) -> None:
        self._elements += elements
        if len(self._elements) > MAX_ORDERS:
            raise InvalidOrderError([FieldError(pointer(ROOT).text, f"must hold at most {MAX_ORDERS} orders")])


def _parse_group(group: bytes) -> Sequence[NewOrder | bytes] | None:
    """The elements of the group, which is a JSON array; None if the elements must be read one by one.

    The limit on nesting depends on how an element is read: an element that is accepted in a group can be rejected when
    it is read alone, or vice versa.
    """
    if orders := parse_array_fast(group, max_orders=MAX_ORDERS):
        return orders
    try:
        elements: list[Any] = _decode_elements(group)
    except (msgspec.DecodeError, RecursionError):
        return None
    return [bytes(element) for element in elements] or None


def _element_length(text: str, index: int) -> int:
    """The length of the JSON value at the beginning of the text, in characters."""
    try:
        _, length = _scan(text)
    except json.JSONDecodeError as error:
        if len(text) > MAX_ORDER_BYTES:
            raise _too_long(index) from None
        raise NotJsonError(f"{error.msg} in element {index}") from None
    except RecursionError:
        raise NotJsonError(f"nested deeper than {MAX_DEPTH} levels in element {index}") from None
    return length


def _too_long(index: int) -> InvalidOrderError:
    return InvalidOrderError([FieldError(pointer((ROOT, index)).text, TOO_LONG)])
