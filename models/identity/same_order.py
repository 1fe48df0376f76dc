"""Decides whether a new order repeats the stored order with the same id, or conflicts with it. Pure functions."""

from models.order import Order
from models.parsing.strict_json import same_value
from models.writes.insertion import NewOrder


def is_same_order(new: NewOrder, stored: Order) -> bool:
    """Whether `new` repeats `stored`: the users, items and amounts are equal, and the metadata has equal values.

    The caller must ensure that the ids are equal.
    """
    return (
        new.user_id == stored.user_id
        and new.item_ids == stored.item_ids
        and new.total_amount == stored.total_amount
        and same_value(new.metadata, stored.metadata)
    )
