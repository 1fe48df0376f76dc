"""Parses many orders, in steps. An invalid order does not affect other orders. Pure functions."""

from collections.abc import Iterator, Sequence

from models.errors import ERRORS_IN_TEXT, FieldError, InvalidOrderError, NotJsonError
from models.parsing.array_reader import GROUP_BYTES, TOO_LONG
from models.parsing.json_pointer import ROOT, pointer
from models.parsing.lines import LineBlock
from models.parsing.order_body import MAX_ORDER_BYTES
from models.parsing.order_parser import parse_order_fast, parse_orders_fast
from models.parsing.packed_orders import pack_lines
from models.parsing.steps import Steps
from models.parsing.validation import parse_with_all_errors
from models.writes.insertion import NewOrder

PART_BYTES = 16 * 1024
"""About how many bytes of lines are parsed in one step."""

_GROUP_ORDERS = 250

ParsedOrder = NewOrder | NotJsonError | InvalidOrderError
ParsedPart = tuple[Sequence[int], Sequence[ParsedOrder]]
"""The positions of some orders in the request, and the result of `parse_orders` for each of them."""


def parse_orders(texts: Sequence[bytes]) -> Iterator[Sequence[ParsedOrder] | None]:
    """Yields after each step: a list with the results of the next texts, or None if the step has no result.

    A result is an order or an exception. Exceptions are yielded, not raised. An InvalidOrderError lists at most
    `ERRORS_IN_TEXT` errors.
    """
    for group in _groups(texts):
        # A group of several orders is never longer than GROUP_BYTES.
        if len(group[0]) <= MAX_ORDER_BYTES and (orders := parse_orders_fast(group)):
            yield orders
        else:
            yield None
            for text in group:
                yield [(yield from _parse(text))]


def parse_elements(elements: Sequence[tuple[int, NewOrder | bytes]]) -> Iterator[ParsedPart]:
    """Parses orders whose position is given. Some of them are parsed already. Yields after each step."""
    orders = [(number, each) for number, each in elements if isinstance(each, NewOrder)]
    texts = [(number, each) for number, each in elements if not isinstance(each, NewOrder)]
    yield [number for number, _ in orders], [order for _, order in orders]
    yield from _parse_numbered(texts)


def parse_lines(block: LineBlock) -> Iterator[ParsedPart]:
    """Parses lines, which have their numbers as positions. Yields after each step. Blank lines have no result.

    If all lines of a step are orders without metadata, the results of the step are PackedOrders.
    """
    for part in block.parts(PART_BYTES):
        if packed := pack_lines(part.text):
            yield range(part.first, part.end), packed
        else:
            yield (), ()
            yield from _parse_numbered(part.lines())


def _parse_numbered(texts: Sequence[tuple[int, bytes]]) -> Iterator[ParsedPart]:
    begin = 0
    for results in parse_orders([text for _, text in texts]):
        end = begin + len(results or ())
        yield [number for number, _ in texts[begin:end]], results or ()
        begin = end


def _groups(texts: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for begin in range(0, len(texts), _GROUP_ORDERS):
        group = texts[begin : begin + _GROUP_ORDERS]
        if sum(map(len, group)) <= GROUP_BYTES:
            yield group
        else:
            yield from _short_groups(group)


def _short_groups(texts: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    group: list[bytes] = []
    size = 0
    for text in texts:
        if group and size + len(text) > GROUP_BYTES:
            yield group
            group, size = [], 0
        group.append(text)
        size += len(text)
    if group:
        yield group


def _parse(text: bytes) -> Steps[ParsedOrder]:
    if len(text) > MAX_ORDER_BYTES:
        return InvalidOrderError([FieldError(pointer(ROOT).text, TOO_LONG)])
    try:
        return parse_order_fast(text) or (yield from parse_with_all_errors(text, max_listed=ERRORS_IN_TEXT))
    except (NotJsonError, InvalidOrderError) as error:
        # A traceback would keep the text of the invalid order in memory.
        return error.with_traceback(None)
