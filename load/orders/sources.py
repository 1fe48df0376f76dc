"""Provides the orders of a run. Reads NDJSON and CSV files, on the main thread, before the event loop starts.

Each row of a CSV file becomes a JSON object, like a line of NDJSON. Only the server checks the values: text that is a
JSON number is sent as this number, digit for digit. Any other text is sent as a string.
"""

import csv
import re
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import TextIO

import msgspec

from load.cli.errors import UsageError, cut, reason_of_os_error
from load.cli.flags import HIGHEST
from load.http.address import Address
from load.orders.comparison import BadJson, decode_json

ITEMS, METADATA = "item_ids", "metadata"
REQUIRED = ("order_id", "user_id", ITEMS, "total_amount")
KNOWN = (*REQUIRED, METADATA)
SHOWN_CHARACTERS = 60  # How much of a text a message shows.
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
BLANKS = " \t\r\n"
BETWEEN_ITEMS = re.compile(rf"[{BLANKS}]*[;|][{BLANKS}]*|[{BLANKS}]+")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class BadReplay(UsageError):
    """The file can't be replayed; the text names the file, the line, and what is wrong."""


def read_csv(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield every row after the header as JSON without line breaks, with the number of the row's first line.

    Skips empty rows, and empty columns without a name. Raises BadReplay for a bad row, OSError if the file is not
    readable, and UnicodeDecodeError if it is not UTF-8.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = _rows(file)
        header = next(rows, None)
        names = _column_names(*header) if header else []
        for line, row in rows:
            if len(row) != len(names):
                raise BadReplay(f"line {line}: {len(row)} fields, but the header names {len(names)} columns")
            yield line, _encode(names, row, line)


def _rows(file: TextIO) -> Iterator[tuple[int, list[str]]]:
    """Yield every row that is not blank, with the number of its first line. Quoted fields can span several lines."""
    # Spaces after a comma are not part of a value, and a quote after them begins a quoted field.
    reader = csv.reader(file, strict=True, skipinitialspace=True)
    line = 1
    try:
        for row in reader:
            if any(field.strip() for field in row):
                yield line, row
            line = reader.line_num + 1
    except csv.Error as problem:
        raise BadReplay(
            f"line {line}: not CSV: {problem} (is a quote left open, or one inside quotes not doubled?)"
        ) from None


def _column_names(line: int, row: Sequence[str]) -> list[str]:
    names = [name.strip() for name in row]
    columns = f"the header must name {', '.join(REQUIRED)}, and can name {METADATA}, separated by commas"
    for place, name in enumerate(names):
        if name and name not in KNOWN:
            raise BadReplay(f"line {line}: unknown column {cut(name, SHOWN_CHARACTERS)!r}: {columns}")
        if name and name in names[:place]:
            raise BadReplay(f"line {line}: the column {name} appears twice")
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise BadReplay(f"line {line}: the column {missing[0]} is missing: {columns}")
    return names


def _encode(names: Sequence[str], row: Sequence[str], line: int) -> bytes:
    for name, text in zip(names, row, strict=True):
        if not name and text.strip():
            raise BadReplay(f"line {line}: {cut(text, SHOWN_CHARACTERS)!r} is in a column that has no name")
    fields = (
        f'"{name}": {_items(text) if name == ITEMS else _json(text, dict) if name == METADATA else _value(text)}'
        for name, text in zip(names, row, strict=True)
        if name and (name != METADATA or text.strip(BLANKS))
    )
    return f"{{{', '.join(fields)}}}".encode()


def _value(text: str) -> str:
    """Return a JSON number unchanged, and any other text as a JSON string."""
    number = text.strip(BLANKS)
    return number if NUMBER.fullmatch(number) else msgspec.json.encode(text).decode()


def _items(text: str) -> str:
    items = text.strip(BLANKS)
    if items.startswith("["):
        return _json(text, list)
    return f"[{', '.join(map(_value, BETWEEN_ITEMS.split(items)))}]" if items else "[]"


def _json(text: str, kind: type) -> str:
    """Return the text without line breaks if it is JSON of the type `kind`, and otherwise `_value(text)`."""
    with suppress(BadJson):
        if isinstance(decode_json(text.encode()), kind):
            # In valid JSON, a line break is never inside a string.
            return text.replace("\n", " ").replace("\r", " ")
    return _value(text)


class OrderSource(ABC):
    """Provides orders by index, from 0 to `len(source)` - 1. Calls with one index always return one order."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def order_id(self, index: int) -> int: ...

    @abstractmethod
    def body(self, index: int) -> bytes:
        """Return the order as the JSON to send."""

    def order(self, index: int) -> dict[str, object]:
        """Return the decoded values of `body`, with exact numbers."""
        order: dict[str, object] = decode_json(self.body(index))
        return order


def requests_of(source: OrderSource, address: Address, *, bulk: int | None) -> Iterator[tuple[int, bytes]]:
    """Encode requests with one order or `bulk` orders. Yield the index of the first order, and the request."""
    orders = len(source)
    if bulk is None:
        for place in range(orders):
            yield place, address.post("/order", source.body(place))
        return
    for first in range(0, orders, bulk):
        bodies = map(source.body, range(first, min(first + bulk, orders)))
        yield first, address.post("/orders", b"[%s]" % b",".join(bodies))


class ReplayedOrders(OrderSource):
    """Provides the orders of a file, unchanged. The file is CSV if its name ends in .csv, otherwise NDJSON.

    Raises BadReplay if an order can't be read or has no integer `order_id`. Reads at most `limit` orders. With
    `first_id`, ids are replaced by first_id, first_id + 1, and so on. Equal ids stay equal, so duplicates are kept.
    """

    def __init__(self, path: Path, *, limit: int, first_id: int | None) -> None:
        self._lines: list[bytes] = []
        self._ids = array("q")
        renumbered: dict[int, int] = {}
        for place, line in islice(_numbered_lines(path), limit):
            order_id = _order_id(line, place)
            if first_id is not None:
                order_id = renumbered.setdefault(order_id, first_id + len(renumbered))
                if order_id > HIGHEST:
                    raise BadReplay(f"{place}: no id below 2^63 is left for this order")
                line = _with_id(line, order_id)
            self._lines.append(line)
            self._ids.append(order_id)
        if not self._lines:
            raise BadReplay(f"{path} has no orders")

    def __len__(self) -> int:
        return len(self._lines)

    def order_id(self, index: int) -> int:
        return self._ids[index]

    def body(self, index: int) -> bytes:
        return self._lines[index]


def _numbered_lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the file and line of every order, such as "orders.csv, line 2", and its JSON without the line end."""
    read = read_csv if path.suffix.lower() == ".csv" else _read_ndjson
    try:
        for number, line in read(path):
            yield f"{path}, line {number}", line
    except BadReplay as problem:
        raise BadReplay(f"{path}, {problem}") from None
    except UnicodeDecodeError:
        fault = "not UTF-8 (in a spreadsheet, save as CSV UTF-8, or choose UTF-8 as the encoding)"
        raise BadReplay(f"{path}: {fault}") from None
    except OSError as problem:
        raise BadReplay(f"{path} can't be read: {reason_of_os_error(problem)}") from None


def _read_ndjson(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if number == 1:
                line = line.removeprefix(BYTE_ORDER_MARK)
            if line.strip():
                yield number, line.rstrip(b"\r\n")


def _order_id(line: bytes, place: str) -> int:
    try:
        order = decode_json(line)
    except BadJson as problem:
        raise BadReplay(f"{place}: not JSON: {problem}") from None
    if not isinstance(order, dict):
        raise BadReplay(f"{place}: not a JSON object")
    order_id = order.get("order_id")
    if isinstance(order_id, bool) or not isinstance(order_id, int) or not 1 <= order_id <= HIGHEST:
        shown = "" if order_id is None else f", not {cut(str(order_id), SHOWN_CHARACTERS)}"
        if isinstance(order_id, Decimal) and "E" in str(order_id):
            # A spreadsheet rewrites a long id in scientific notation, without its last digits.
            shown += ": a spreadsheet has rounded it (format the column as text)"
        raise BadReplay(f"{place}: order_id must be an integer from 1 to 2^63-1{shown}")
    return order_id


def _with_id(line: bytes, order_id: int) -> bytes:
    """Replace the id, and leave the bytes of every other value unchanged."""
    fields = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    fields["order_id"] = msgspec.Raw(b"%d" % order_id)
    return msgspec.json.encode(fields)
