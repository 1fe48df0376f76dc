"""Whether a new order equals a stored one."""

import pytest
from msgspec.structs import replace

from models.identity.same_order import is_same_order
from models.writes.insertion import NewOrder
from tests.cases import cases
from tests.models.samples import claimed_order, new_order

NEW = new_order(1, user_id=2, item_ids=[3, 4], total_amount=999_900, metadata='{"a": 1, "b": [true]}')
STORED = claimed_order(NEW, 1, 0)


@pytest.mark.parametrize("new", [NEW, replace(NEW, metadata='{ "b":[true],"a":1.0 }')], ids=["equal", "formatting"])
def test_an_order_with_equal_values_is_the_same(new: NewOrder) -> None:
    assert is_same_order(new, STORED)


@cases(
    "new",
    [
        replace(NEW, user_id=3),
        replace(NEW, item_ids=[4, 3]),
        replace(NEW, item_ids=[3, 4, 4]),
        replace(NEW, total_amount=999_901),
        replace(NEW, metadata='{"a": 1, "b": [1]}'),
        replace(NEW, metadata=None),
    ],
)
def test_an_order_with_any_other_value_is_not_the_same(new: NewOrder) -> None:
    assert not is_same_order(new, STORED)


def test_attempts_and_status_of_the_stored_order_are_ignored() -> None:
    assert is_same_order(NEW, replace(STORED, attempts=5, claims=6, error="down", processed_us=7))
