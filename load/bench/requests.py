"""Owns the requests of the trials, encoded, and what is wrong with an answer to them; pure functions, any thread."""

from collections.abc import Iterator
from random import Random

import msgspec

from load.address import Address
from load.connection import Answer
from load.judge import REPLAYED

BODY = b'{"order_id": %d, "user_id": %d, "item_ids": [101, 102, 103], "total_amount": 99.99}'
USERS = 100_000
# Has no factor in common with USERS, so that neighbouring orders have users far apart and all users get their turn.
STRIDE = 61_803


class BulkCounts(msgspec.Struct):
    """What the answer to `POST /orders` counts."""

    accepted: int
    duplicates: int
    rejected_total: int


def body(order_id: int) -> bytes:
    """Give an order's JSON; 100,000 orders in a row are of as many users."""
    return BODY % (order_id, order_id * STRIDE % USERS + 1)


def posts(address: Address, ids: Iterator[int]) -> Iterator[bytes]:
    """Post an order for every id."""
    return (address.post("/order", body(order_id)) for order_id in ids)


def bulk_posts(address: Address, ids: Iterator[int], *, size: int) -> Iterator[bytes]:
    """Post the orders in arrays of `size`, for as long as somebody takes them."""
    while True:
        yield address.post("/orders", b"[" + b",".join([body(next(ids)) for _ in range(size)]) + b"]")


def gets(address: Address, *, stored: int, chance: Random) -> Iterator[bytes]:
    """Ask for the orders 1 to `stored` at random; the same seed gives the same sequence to both sides."""
    # Encoded one by one, so that it makes no difference how many there are.
    before, after = address.get("/order/#").split(b"#")
    while True:
        yield b"%s%d%s" % (before, 1 + int(chance.random() * stored), after)


def fault_of_post(answer: Answer) -> str:
    """Say what is wrong with the 202 for a new order; an empty text when nothing is."""
    return "an order that was there before" if REPLAYED in answer.head else ""


def fault_of_bulk(answer: Answer, *, size: int) -> str:
    """Say what is wrong with the 202 for `size` new orders; an empty text when all were accepted."""
    try:
        counts = msgspec.json.decode(answer.body, type=BulkCounts)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "a 202 that does not count the orders"
    if (counts.accepted, counts.duplicates, counts.rejected_total) != (size, 0, 0):
        return f"{counts.accepted} accepted of {size}"
    return ""
