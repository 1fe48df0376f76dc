"""Decides whether a new order with an already stored id is a replay or a conflict. Pure functions."""

from models.order import Order
from models.parsing.strict_json import same_value
from models.writes import NewOrder


def is_same_order(new: NewOrder, stored: Order) -> bool:
    """Whether `new` repeats `stored`: equal user, items and amount, and metadata of equal value.

    The caller must ensure that the ids are equal.
    """
    return (
        new.user_id == stored.user_id
        and new.item_ids == stored.item_ids
        and new.total_amount == stored.total_amount
        and same_value(new.metadata, stored.metadata)
    )
