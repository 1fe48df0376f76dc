"""Encodes batches as JSON parameters for a database, and decodes JSON results. Pure functions.

A batch is one JSON parameter, and its result is one JSON value. `sqlite3` releases the GIL and takes it back at each
step of a statement. If a statement returned many rows, this thread could wait for the event loop at each row.

Each docstring lists the columns in order; the statements of each engine use the same order.
"""

from collections.abc import Iterable, Sequence
from itertools import starmap

import msgspec
from msgspec import structs

from models.changes.order_changes import MAX_ERROR_CHARACTERS, OrderChange
from models.database.servers import Server
from models.order import Attempt, AttemptRecord, Ending, Order, Status
from models.writes.attempts import Outcome
from models.writes.commands import OrderIds
from models.writes.insertion import NewOrder

# sequence, order_id, user_id, item_ids, total_amount, metadata, status, attempts, claims, error, created_us,
# processed_us, due_us, trace_headers
_OrderColumns = tuple[
    int, int, int, list[int], int, str | None, Status, int, int, str | None, int, int | None, int | None, str | None
]

_RecordColumns = tuple[int, int | None, int, Ending, str | None]

_GROUP = 100
_SHORT = 256 * 1024
"""The maximum number of characters that msgspec decodes in one call. In a longer text, orders are decoded one by one,
because msgspec holds the GIL during a call. If one call decoded orders with 1,000,000 items, it would hold the GIL for
30 ms."""
_decode_order = msgspec.json.Decoder(_OrderColumns).decode
_split = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_orders = msgspec.json.Decoder(list[_OrderColumns]).decode
_decode_history = msgspec.json.Decoder(tuple[Status, int, int | None, int | None, list[_RecordColumns]]).decode
_decode_numbers = msgspec.json.Decoder(list[int]).decode
_decode_states = msgspec.json.Decoder(list[tuple[int, int, Status, str | None]]).decode
_decode_changes = msgspec.json.Decoder(list[OrderChange]).decode
_decode_servers = msgspec.json.Decoder(list[tuple[int, str, int, float, bool, int, bool]]).decode
_decode_pairs = msgspec.json.Decoder(list[tuple[int, int]]).decode
_decode_triples = msgspec.json.Decoder(list[tuple[int, int, int]]).decode


def encode_numbers(numbers: Sequence[int]) -> str:
    """Encodes numbers as JSON: `[number, …]`"""
    return msgspec.json.encode(numbers).decode()


def encode_new_orders(orders: Sequence[NewOrder]) -> str:
    """Encodes orders as JSON: `[[order_id, user_id, item_ids, total_amount, metadata, trace_headers], …]`"""
    # Encodes the orders in groups, so that no call holds the GIL for long.
    groups = (orders[begin : begin + _GROUP] for begin in range(0, len(orders), _GROUP))
    texts = [msgspec.json.encode(list(map(structs.astuple, group)))[1:-1] for group in groups]
    return f"[{b','.join(texts).decode()}]"


def encode_packed_rows(rows: Sequence[tuple[int, int, int, list[int]]]) -> str:
    """Encodes orders without metadata and headers as parts of a JSON array of strings, which SQLite splits quickly.

    The rows are (order_id, user_id, ~total_amount, item_ids). The amount is stored as its bitwise complement, which is
    negative. So SQLite finds the amount by its minus sign. `join_packed_rows` makes the array:
    `["order_id,user_id,~total_amount,[item_id,…]", …]`.
    """
    # Within an order, no two closing brackets are adjacent.
    return msgspec.json.encode(rows)[2:-2].replace(b"]],[", b']","').decode()


def join_packed_rows(parts: Iterable[str]) -> str:
    """The JSON array of the orders that `encode_packed_rows` encoded."""
    text = '","'.join(parts)
    return f'["{text}"]' if text else "[]"


def encode_outcomes(outcomes: Iterable[Outcome]) -> str:
    """Encodes outcomes as JSON: `[[sequence, claim, status, error, due_us, ending, counts], …]`"""
    return msgspec.json.encode(list(map(structs.astuple, outcomes))).decode()


def decode_numbers(text: str) -> list[int]:
    """Decodes `[number, …]`."""
    return _decode_numbers(text)


def decode_orders(text: str) -> list[Order]:
    """Decodes a JSON array of orders. Each order is an array of its columns, as in `_OrderColumns`."""
    if len(text) <= _SHORT:
        return list(starmap(Order, _decode_orders(text)))
    return [Order(*_decode_order(order)) for order in _split(text)]


def decode_servers(text: str) -> list[Server]:
    """Decodes `[[number, name, started_us, lease_age_s, is_alive, processing, is_this], …]`."""
    return list(starmap(Server, _decode_servers(text)))


def decode_pairs(text: str) -> list[tuple[int, int]]:
    """Decodes `[[number, number], …]`."""
    return _decode_pairs(text)


def decode_triples(text: str) -> list[tuple[int, int, int]]:
    """Decodes `[[number, number, number], …]`."""
    return _decode_triples(text)


def decode_attempts(text: str) -> list[Attempt]:
    """Decodes `[[sequence, claims, attempts], …]`."""
    return list(starmap(Attempt, _decode_triples(text)))


def decode_history(text: str) -> tuple[Status, int, int | None, int | None, list[AttemptRecord]]:
    """The status, attempts, time of the latest claim, processed_us and recorded attempts of an order.

    Decodes `[status, attempts, claimed_us, processed_us, [[number, started_us, ended_us, ending, error], …]]`.
    """
    status, attempts, claimed_us, processed_us, records = _decode_history(text)
    return status, attempts, claimed_us, processed_us, list(starmap(AttemptRecord, records))


def decode_states(text: str) -> list[tuple[int, int, Status, str | None]]:
    """Decodes `[[sequence, claims, status, error], …]`."""
    return _decode_states(text)


def decode_order_ids(text: str) -> list[OrderIds]:
    """Decodes `[[sequence, order_id, user_id], …]`."""
    return list(starmap(OrderIds, _decode_triples(text)))


def encode_changes(changes: Sequence[OrderChange]) -> str:
    """Encodes changes as JSON: `[[order_id, user_id, status, attempts, error], …]`. Cuts long errors."""
    return msgspec.json.encode([_with_short_error(change) for change in changes]).decode()


def decode_changes(text: str) -> list[OrderChange]:
    """Decodes `[[order_id, user_id, status, attempts, error], …]`."""
    return _decode_changes(text)


def _with_short_error(change: OrderChange) -> OrderChange:
    if change.error is None or len(change.error) <= MAX_ERROR_CHARACTERS:
        return change
    return structs.replace(change, error=change.error[:MAX_ERROR_CHARACTERS])
