"""The orders of a run, and reading them from a file. Values, any thread."""

from array import array
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Protocol

import msgspec

from load.cli.errors import UsageError, reason_of_os_error
from load.cli.text import cut
from load.http.address import Address
from load.orders.comparison import BadJson, decode_json
from load.orders.csv import BadCsv, read_csv

MAX_ID = 2**63 - 1
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SHOWN = 60
"""Characters of a value that a message shows."""


class OrderSource(Protocol):
    """Orders by index, from 0 below `len(source)`; an index returns the same order every time."""

    def __len__(self) -> int: ...

    def order_id(self, index: int) -> int: ...

    def body(self, index: int) -> bytes:
        """Return the JSON to send."""
        ...

    def order(self, index: int) -> dict[str, object]:
        """Return the values in `body`, with exact numbers."""
        ...


def requests_of(source: OrderSource, address: Address, *, bulk: int | None) -> Iterator[tuple[int, bytes]]:
    """Encode every order of a source, one or `bulk` in each request; the last request may have fewer.

    Yields the place in the source of the request's first order, and the encoded request.
    """
    orders = len(source)
    if bulk is None:
        for place in range(orders):
            yield place, address.post("/order", source.body(place))
        return
    for first in range(0, orders, bulk):
        bodies = map(source.body, range(first, min(first + bulk, orders)))
        yield first, address.post("/orders", b"[%s]" % b",".join(bodies))


class BadReplay(UsageError):
    """The file can't be replayed; the text names it, the line, and what is wrong."""


class ReplayedOrders:
    """The orders of a file, unchanged: CSV if its name ends in .csv, else NDJSON, one object a line.

    Raises BadReplay if an order can't be read or has no integer `order_id`. Takes no more than `limit` orders. With
    `first_id`, the ids of the file are replaced by first_id, first_id + 1, … in the order in which they first appear,
    so that a repeated order stays a repeated order.
    """

    def __init__(self, path: Path, *, limit: int, first_id: int | None) -> None:
        self._lines: list[bytes] = []
        self._ids = array("q")
        renumbered: dict[int, int] = {}
        for place, line in islice(_numbered_lines(path), limit):
            order_id = _order_id(line, place)
            if first_id is not None:
                order_id = renumbered.setdefault(order_id, first_id + len(renumbered))
                if order_id > MAX_ID:
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

    def order(self, index: int) -> dict[str, object]:
        order: dict[str, object] = decode_json(self._lines[index])
        return order


def _numbered_lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield where every order is, and its JSON without the line end."""
    read = read_csv if path.suffix.lower() == ".csv" else _read_ndjson
    try:
        for number, line in read(path):
            yield f"{path}, line {number}", line
    except BadCsv as problem:
        raise BadReplay(f"{path}, line {problem.line}: {problem}") from None
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
        raise BadReplay(f"{place}: no JSON: {problem}") from None
    if not isinstance(order, dict):
        raise BadReplay(f"{place}: no JSON object")
    order_id = order.get("order_id")
    if isinstance(order_id, bool) or not isinstance(order_id, int) or not 1 <= order_id <= MAX_ID:
        shown = "" if order_id is None else f", but {cut(str(order_id), SHOWN)}"
        if isinstance(order_id, Decimal) and "E" in str(order_id):
            # A spreadsheet turns a long id into a power of ten and loses its last digits.
            shown += ": a spreadsheet has rounded it (format the column as text)"
        raise BadReplay(f"{place}: no order_id that is an integer from 1 to 2^63-1{shown}")
    return order_id


def _with_id(line: bytes, order_id: int) -> bytes:
    """Replace the id, and leave the bytes of every other value unchanged."""
    fields = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    fields["order_id"] = msgspec.Raw(b"%d" % order_id)
    return msgspec.json.encode(fields)
