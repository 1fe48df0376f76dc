"""Computes orders from their ids. Records which orders were sent, acknowledged and found. Usable on any thread."""

from collections.abc import Callable, Iterable
from random import Random

from load.cli.flags import HIGHEST
from load.orders.sources import OrderSource

MASK = 2**64 - 1
DECIMAL_PLACES = (0, 1, 3, 4) + (2,) * 28  # Most currencies have two decimal places; some have 0, 1, 3 or 4.
AMOUNTS_BELOW = 500
ITEMS = b'"item_ids": ['
VARIED_EVERY, VARIED_RUN_BITS = 4, 5
HIGHEST_WHOLE, MOST_ITEMS = 9_999_999_999, 1_000  # The server's limits for the whole part of an amount, and for items.
SLOT_S, RANDOM_BITS, ROOM_BITS = 1024, 20, 21
UNSENT, SENT, ACKNOWLEDGED, FOUND = range(4)


def new_first_id(*, clock_ns: Callable[[], int], random_bits: Callable[[int], int]) -> int:
    """Return the id of a run's first order. No earlier or concurrent run should have the ids of the run.

    From the highest bit, an id consists of the number of 1,024 s periods since 1970, 20 random bits, and 21 bits that
    count the orders of the run. Two runs can share ids only if they start in the same period, with a probability of 1
    in 1,048,576. A run of over 2^21 orders (two million) also uses ids with the next higher random bits. Ids are below
    2^63 until the year 2106. `clock_ns` returns the nanoseconds since 1970.
    """
    slot = clock_ns() // (SLOT_S * 1_000_000_000) << RANDOM_BITS | random_bits(RANDOM_BITS)
    return max(1, slot << ROOM_BITS)


class GeneratedOrders(OrderSource):
    """Provides orders with consecutive ids from `first_id` on. All other values are computed from the id."""

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


class VariedOrders(GeneratedOrders):
    """Generated orders. In a quarter of all groups of 32 orders, about 8 orders have metadata or extreme values."""

    def body(self, index: int) -> bytes:
        order_id = self._first_id + index
        bits = _scatter(order_id)
        if bits % VARIED_EVERY or _scatter(order_id >> VARIED_RUN_BITS) % VARIED_EVERY:
            return super().body(index)
        user_id, item_ids, amount = _values(order_id)
        match bits >> 40 & 3:
            case 0:
                user_id, amount = HIGHEST - user_id, f'"{amount}"'
            case 1:
                item_ids, amount = [HIGHEST - item for item in item_ids], f"{HIGHEST_WHOLE - user_id}.9999"
            case 2:
                # One fewer than the maximum, so that `as_another_order` can add one.
                item_ids = [*range(item_ids[0], item_ids[0] + MOST_ITEMS - 1)] if bits >> 42 & 7 == 0 else item_ids * 9
        metadata = f'{{"currency": "EUR", "to": "Zürich 🛒", "vat": {amount}, "gift": true, "of": [{order_id}, null]}}'
        values = f'"user_id": {user_id}, "item_ids": {item_ids}, "metadata": {metadata}, "total_amount": {amount}'
        return f'{{"order_id": {order_id}, {values}}}'.encode()


def as_another_order(body: bytes) -> bytes:
    """Return the JSON of an order with the id of this order, but one more item."""
    before, name, after = body.partition(ITEMS)
    return before + name + b"7, " + after


def _values(order_id: int) -> tuple[int, list[int], str]:
    bits = _scatter(order_id)
    user_id = 1 + bits % 10_000
    item_ids = [1 + (bits >> shift) % 1000 for shift in range(20, 20 + 6 * (1 + (bits >> 8) % 5), 6)]
    places = DECIMAL_PLACES[(bits >> 12) % len(DECIMAL_PLACES)]
    whole, fraction = divmod((bits >> 32) % (AMOUNTS_BELOW * 10**places), 10**places)
    return user_id, item_ids, f"{whole}.{fraction:0{places}d}" if places else str(whole)


def _scatter(number: int) -> int:
    """Hash a number to 64 bits (the finalizer of SplitMix64)."""
    number = (number + 0x9E3779B97F4A7C15) & MASK
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & MASK
    return number ^ (number >> 31)


class SentOrders:
    """Records the state of each order. An order that was not sent completely is UNSENT: the server can't have it."""

    def __init__(self, orders: GeneratedOrders) -> None:
        self.orders = orders
        self.acknowledged = 0
        self._first_id = orders.order_id(0)
        self._states = bytearray()

    def __len__(self) -> int:
        return len(self._states)

    def take(self, count: int, *, is_sent: bool = False) -> range:
        """Reserve the next `count` orders, and return their indexes. `is_sent` marks them as sent."""
        first = len(self._states)
        self._states.extend(bytes([SENT if is_sent else UNSENT]) * count)
        return range(first, first + count)

    def note_sent(self, indexes: Iterable[int]) -> None:
        """Mark these orders as sent: from now on, the server can have them."""
        for index in indexes:
            self._states[index] = max(self._states[index], SENT)

    def note_acknowledged(self, indexes: Iterable[int]) -> None:
        """Mark these orders as acknowledged: the server must not lose them."""
        for index in indexes:
            self.acknowledged += self._states[index] < ACKNOWLEDGED
            self._states[index] = max(self._states[index], ACKNOWLEDGED)

    def note_found(self, order_id: int) -> bool:
        """Mark an order as found on the server. Return False if the order was found before, or never sent."""
        index = self.index_of(order_id)
        if index is None or self._states[index] == FOUND:
            return False
        self._states[index] = FOUND
        return True

    def index_of(self, order_id: int) -> int | None:
        """Return the index of an order that was sent, or None if no order with this id was sent."""
        index = order_id - self._first_id
        return index if 0 <= index < len(self._states) and self._states[index] != UNSENT else None

    @property
    def missing(self) -> int:
        """The number of orders that were acknowledged but not found."""
        return self._states.count(ACKNOWLEDGED)

    def acknowledged_indexes(self) -> list[int]:
        """Return the indexes of all orders that were acknowledged but not found."""
        return [index for index, state in enumerate(self._states) if state == ACKNOWLEDGED]

    def any_acknowledged(self, chance: Random) -> int | None:
        """Return the index of a random order that was acknowledged but not found; None if there is none."""
        if not self._states:
            return None
        found = self._states.find(ACKNOWLEDGED, chance.randrange(len(self._states)))
        if found < 0:
            found = self._states.find(ACKNOWLEDGED)
        return found if found >= 0 else None
