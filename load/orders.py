"""Owns the orders of a run, generated or from a file; values that are read on the event loop's thread."""

from array import array
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Protocol

import msgspec

from load.comparison import BadJson, decode_json
from load.csv_orders import BadCsv, read_csv

MAX_ID = 2**63 - 1
MASK = 2**64 - 1
# Most shops' amounts have two places; currencies with 0, 1, 3 and 4 exist.
DECIMAL_PLACES = (0, 1, 3, 4) + (2,) * 28
AMOUNTS_BELOW = 500
ITEMS = b'"item_ids": ['
VARIED_EVERY, VARIED_RUN_BITS = 4, 5
HIGHEST_WHOLE, MOST_ITEMS = 9_999_999_999, 1_000
"""The largest amount without its places, and how many items an order may have."""
SLOT_S, RANDOM_BITS, ROOM_BITS = 1024, 20, 21
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Of a value in a message.
SHOWN = 60


class OrderSource(Protocol):
    """Orders by index, 0 up to `len(source)`; the same index gives the same order every time."""

    def __len__(self) -> int: ...

    def order_id(self, index: int) -> int:
        """Give the order's id."""
        ...

    def body(self, index: int) -> bytes:
        """Give the JSON to send."""
        ...

    def order(self, index: int) -> dict[str, object]:
        """Give what `body` says as values, with numbers exact."""
        ...


def new_first_id(*, clock_ns: Callable[[], int], random_bits: Callable[[int], int]) -> int:
    """Give a first id for a run that shares no id with others, also not with those that run beside it.

    From the highest bit: the 17 minutes (1,024 s) since 1970, 20 random bits, and room for two million orders (2^21).
    Two runs of no more than that share ids only when they begin in the same 17 minutes, and then with a probability of
    1 to 1,048,576; one of n orders, more than that, takes the room of n / 2^21. Ids are below 2^63 up to the year 2106.
    `clock_ns` counts from 1970.
    """
    slot = clock_ns() // (SLOT_S * 1_000_000_000) << RANDOM_BITS | random_bits(RANDOM_BITS)
    return max(1, slot << ROOM_BITS)


class GeneratedOrders:
    """Orders numbered from `first_id`, every value but the id made from the id alone."""

    def __init__(self, *, first_id: int, count: int) -> None:
        self._first_id = first_id
        self._count = count

    def __len__(self) -> int:
        return self._count

    def order_id(self, index: int) -> int:
        return self._first_id + index

    def body(self, index: int) -> bytes:
        order_id = self._first_id + index
        user_id, item_ids, amount = _values(order_id)
        values = f'"user_id": {user_id}, "item_ids": {item_ids}, "total_amount": {amount}'
        return f'{{"order_id": {order_id}, {values}}}'.encode()

    def order(self, index: int) -> dict[str, object]:
        order_id = self._first_id + index
        user_id, item_ids, amount = _values(order_id)
        return {"order_id": order_id, "user_id": user_id, "item_ids": item_ids, "total_amount": Decimal(amount)}


class VariedOrders(GeneratedOrders):
    """The same, but that a part of them have metadata, and values at the bounds of what an order may have.

    They are a quarter of the orders in a quarter of all runs of 32, so that arrays are with them and without.
    """

    def body(self, index: int) -> bytes:
        order_id = self._first_id + index
        bits = _scatter(order_id)
        if bits % VARIED_EVERY or _scatter(order_id >> VARIED_RUN_BITS) % VARIED_EVERY:
            return super().body(index)
        user_id, item_ids, amount = _values(order_id)
        match bits >> 40 & 3:
            case 0:
                user_id, amount = MAX_ID - user_id, f'"{amount}"'
            case 1:
                item_ids, amount = [MAX_ID - item for item in item_ids], f"{HIGHEST_WHOLE - user_id}.9999"
            case 2:
                # One fewer than an order may have, so that `as_another_order` can add one.
                item_ids = [*range(item_ids[0], item_ids[0] + MOST_ITEMS - 1)] if bits >> 42 & 7 == 0 else item_ids * 9
        metadata = f'{{"currency": "EUR", "to": "Zürich 🛒", "vat": {amount}, "gift": true, "of": [{order_id}, null]}}'
        values = f'"user_id": {user_id}, "item_ids": {item_ids}, "metadata": {metadata}, "total_amount": {amount}'
        return f'{{"order_id": {order_id}, {values}}}'.encode()

    def order(self, index: int) -> dict[str, object]:
        order: dict[str, object] = decode_json(self.body(index))
        return order


def as_another_order(body: bytes) -> bytes:
    """Give the JSON of another order with the id of a generated one: it has an item more."""
    before, name, after = body.partition(ITEMS)
    return before + name + b"7, " + after


class BadReplay(Exception):
    """The file can't be replayed; the text names it, the line, and what is wrong."""


class ReplayedOrders:
    """The orders of a file as they stand: CSV where its name ends in .csv, else NDJSON, an object a line.

    One without an integer `order_id`, or that can't be read, is a BadReplay at once. No more than `limit` orders are
    taken. With `first_id` the ids of the file are replaced by first_id, first_id + 1, … in the order in which they
    first come, so that a repeated order stays a repeated order.
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


def _values(order_id: int) -> tuple[int, list[int], str]:
    bits = _scatter(order_id)
    user_id = 1 + bits % 10_000
    item_ids = [1 + (bits >> shift) % 1000 for shift in range(20, 20 + 6 * (1 + (bits >> 8) % 5), 6)]
    places = DECIMAL_PLACES[(bits >> 12) % len(DECIMAL_PLACES)]
    whole, fraction = divmod((bits >> 32) % (AMOUNTS_BELOW * 10**places), 10**places)
    return user_id, item_ids, f"{whole}.{fraction:0{places}d}" if places else str(whole)


def _scatter(number: int) -> int:
    """Spread neighbouring numbers over 64 bits (the finalizer of SplitMix64)."""
    number = (number + 0x9E3779B97F4A7C15) & MASK
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & MASK
    return number ^ (number >> 31)


def _numbered_lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """Give every order's JSON without its line end, and where it is."""
    read = read_csv if path.suffix.lower() == ".csv" else _read_ndjson
    try:
        for number, line in read(path):
            yield f"{path}, line {number}", line
    except BadCsv as problem:
        raise BadReplay(f"{path}, line {problem.line}: {problem}") from None
    except OSError as problem:
        raise BadReplay(f"{path} can't be read: {(problem.strerror or 'unknown error').lower()}") from None


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
        raise BadReplay(f"{place}: no order_id that is an integer from 1 to 2^63-1{_but(order_id)}")
    return order_id


def _but(order_id: object) -> str:
    """Say what is there instead; a power of ten is what a spreadsheet makes of a long id, its last digits lost."""
    if order_id is None:
        return ""
    text = str(order_id)
    shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
    rounded = isinstance(order_id, Decimal) and "E" in text
    return f", but {shown}{': a spreadsheet has rounded it (format the column as text)' if rounded else ''}"


def _with_id(line: bytes, order_id: int) -> bytes:
    """Replace the id and leave every other value's bytes as they are."""
    fields = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    fields["order_id"] = msgspec.Raw(b"%d" % order_id)
    return msgspec.json.encode(fields)
