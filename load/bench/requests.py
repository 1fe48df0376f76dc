"""Owns the requests of the trials, encoded; pure functions, any thread."""

from collections.abc import Iterator
from random import Random

from load.http.address import Address

BODY = b'{"order_id": %d, "user_id": %d, "item_ids": [101, 102, 103], "total_amount": 99.99}'
USERS = 100_000
# Has no factor in common with USERS, so that neighbouring orders have users far apart and all users get their turn.
STRIDE = 61_803


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
