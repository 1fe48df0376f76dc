"""Owns the orders that are replayed from a file: NDJSON, one order object a line."""

from array import array
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec

from load.json_value import BadJson, decode_json

MAX_ID = 2**63 - 1


class BadReplay(Exception):
    """The file can't be replayed; the text names it, the line, and what is wrong."""


class ReplayedOrders:
    """The lines of a file as they stand; a line that is no object with an integer `order_id` is a BadReplay at once.

    `limit` takes the first orders alone. With `first_id` the ids of the file are replaced by first_id, first_id + 1, …
    in the order in which they first come, so that a repeated order stays a repeated order.
    """

    def __init__(self, path: Path, *, limit: int | None, first_id: int | None) -> None:
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
    """Give every line that is not blank without its line end, and where it is."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield f"{path}, line {number}", line.rstrip(b"\r\n")
    except OSError as problem:
        raise BadReplay(f"{path} can't be read: {(problem.strerror or 'unknown error').lower()}") from None


def _order_id(line: bytes, place: str) -> int:
    try:
        order = decode_json(line)
    except BadJson as problem:
        raise BadReplay(f"{place}: no JSON: {problem}") from None
    if not isinstance(order, dict):
        raise BadReplay(f"{place}: no JSON object")
    order_id = order.get("order_id")
    if isinstance(order_id, bool) or not isinstance(order_id, int) or not 1 <= order_id <= MAX_ID:
        raise BadReplay(f"{place}: no order_id that is an integer from 1 to 2^63-1")
    return order_id


def _with_id(line: bytes, order_id: int) -> bytes:
    """Replace the id and leave every other value's bytes as they are."""
    fields = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    fields["order_id"] = msgspec.Raw(b"%d" % order_id)
    return msgspec.json.encode(fields)
