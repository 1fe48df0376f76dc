"""Packs orders as the parser of a stream does."""

from models.order import amount_as_json
from models.parsing.packed_orders import PackedOrders, pack_lines
from models.writes.insertion import NewOrder
from tests.models.samples import order_text


def line_of(order: NewOrder) -> bytes:
    """The order without metadata as a line of a stream."""
    return order_text(
        order_id=str(order.order_id),
        user_id=str(order.user_id),
        item_ids=str(order.item_ids),
        total_amount=amount_as_json(order.total_amount).decode(),
    )


def pack(*orders: NewOrder) -> PackedOrders:
    parts = [pack_lines(b"\n".join(map(line_of, orders[begin : begin + 100]))) for begin in range(0, len(orders), 100)]
    return PackedOrders.join([part for part in parts if part])
