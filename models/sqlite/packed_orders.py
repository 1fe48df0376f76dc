"""Encodes new orders without metadata as strings that SQLite splits faster than JSON arrays. Pure functions."""

from collections.abc import Sequence

from models.wire import encode_packed_rows, join_packed_rows
from models.writes.insertion import NewOrder

_GROUP = 100
"""The number of orders that one call of msgspec encodes. msgspec holds the GIL during a call."""


def encode_packed_orders(orders: Sequence[NewOrder]) -> str:
    """Encodes orders without metadata and headers as JSON: `["order_id,user_id,~total_amount,[item_id,…]", …]`

    See `models.wire.encode_packed_rows`.
    """
    groups = (orders[begin : begin + _GROUP] for begin in range(0, len(orders), _GROUP))
    return join_packed_rows(map(_packed, groups))


def _packed(orders: Sequence[NewOrder]) -> str:
    return encode_packed_rows(
        [(order.order_id, order.user_id, ~order.total_amount, order.item_ids) for order in orders]
    )
