"""Owns the orders of a run: where they come from, and those that are generated."""

from collections.abc import Callable
from decimal import Decimal
from typing import Protocol

MASK = 2**64 - 1
# Most shops' amounts have two places; currencies with 0, 1, 3 and 4 exist.
DECIMAL_PLACES = (2, 2, 2, 2, 0, 1, 3, 4)


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


def first_id_from_clock(clock_ns: Callable[[], int]) -> int:
    """Give a first id that no earlier run used: microseconds since 1970, which a run passes faster than its ids."""
    return clock_ns() // 1000


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


def _values(order_id: int) -> tuple[int, list[int], str]:
    bits = _scatter(order_id)
    user_id = 1 + bits % 10_000
    item_ids = [1 + (bits >> shift) % 1000 for shift in range(20, 20 + 6 * (1 + (bits >> 8) % 5), 6)]
    places = DECIMAL_PLACES[(bits >> 12) & 7]
    whole, fraction = divmod((bits >> 32) % 10_000_000, 10**places)
    return user_id, item_ids, f"{whole}.{fraction:0{places}d}" if places else str(whole)


def _scatter(number: int) -> int:
    """Spread neighbouring numbers over 64 bits (the finalizer of SplitMix64)."""
    number = (number + 0x9E3779B97F4A7C15) & MASK
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & MASK
    return number ^ (number >> 31)
