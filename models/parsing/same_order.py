"""Whether an order was sent before: the rule behind replays and conflicts. Pure functions."""

from models.order import Order
from models.parsing.strict_json import same_value
from models.writes import NewOrder


def is_same_order(new: NewOrder, stored: Order) -> bool:
    """Whether `new` repeats `stored`: the same four values, and metadata of equal value."""
    return (
        new.user_id == stored.user_id
        and new.item_ids == stored.item_ids
        and new.total_amount == stored.total_amount
        and same_value(new.metadata, stored.metadata)
    )
