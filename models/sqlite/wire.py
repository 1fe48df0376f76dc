"""Encodes batches as JSON parameters for SQLite, and decodes JSON results. Pure functions.

A batch is one JSON parameter and comes back as one JSON value. `sqlite3` releases the GIL and takes it back at each
step of a statement, so a statement that returns one row per step would wait for the event loop at every row.

Each function names the columns in their order; the statements of `models/sqlite/statements.py` use the same order.
"""

from collections.abc import Iterable, Sequence
from itertools import starmap

import msgspec
from msgspec import structs

from models.order import Attempt, Order, Status
from models.writes import NewOrder, OrderIds, Outcome

# sequence, order_id, user_id, item_ids, total_amount, metadata, status, attempts, claims, error, created, processed
_OrderColumns = tuple[int, int, int, list[int], int, str | None, Status, int, int, str | None, int, int | None]

_decode_orders = msgspec.json.Decoder(list[_OrderColumns]).decode
_decode_triples = msgspec.json.Decoder(list[tuple[int, int, int]]).decode


def encode_numbers(numbers: Sequence[int]) -> str:
    """`[number, …]`"""
    return msgspec.json.encode(numbers).decode()


def encode_new_orders(orders: Iterable[NewOrder]) -> str:
    """`[[order_id, user_id, item_ids, total_amount, metadata], …]`"""
    return msgspec.json.encode(list(map(structs.astuple, orders))).decode()


def encode_outcomes(outcomes: Iterable[Outcome]) -> str:
    """`[[sequence, claim, status, error, due_us], …]`"""
    return msgspec.json.encode(list(map(structs.astuple, outcomes))).decode()


def decode_orders(text: str) -> list[Order]:
    """Orders from all their columns."""
    return list(starmap(Order, _decode_orders(text)))


def decode_attempts(text: str) -> list[Attempt]:
    """Attempts from `[[sequence, claims, attempts], …]`."""
    return list(starmap(Attempt, _decode_triples(text)))


def decode_order_ids(text: str) -> list[OrderIds]:
    """`OrderIds` from `[[sequence, order_id, user_id], …]`."""
    return list(starmap(OrderIds, _decode_triples(text)))
