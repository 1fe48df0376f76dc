"""Owns which orders each shop is sent, by its name; on the event loop's thread."""

from random import Random

from load.orders.generated import VariedOrders
from load.orders.sent_orders import SentOrders

FIRST_ID_BITS = 62


class Ledger(SentOrders):
    """The ledger of a shop; its orders' ids and values follow from the seed and the shop's name."""

    def __init__(self, *, seed: int, name: str) -> None:
        first_id = 1 + Random(f"ids {seed} {name}").getrandbits(FIRST_ID_BITS)
        super().__init__(VariedOrders(first_id=first_id, count=1 << 40))
