"""Controlled batches: N at once, all answered, then the next N."""

import pytest

from tests.load.conftest import Load
from tests.load.shop import Fault, Shop


def test_a_batch_is_sent_at_once_and_waited_for_before_the_next(load: Load, shop: Shop) -> None:
    shop.faults = dict.fromkeys((1, 7, 15, 19), Fault.HOLD_BACK)
    outcome = load("--orders", "20", "--batch", "5")
    assert outcome.status == 0
    assert shop.most_outstanding <= 5
    for first in range(0, 20, 5):
        batch = set(range(first + 1, first + 6))
        steps = shop.log[2 * first : 2 * first + 10]
        assert {order_id for what, order_id in steps if what == "came"} == batch
        assert {order_id for what, order_id in steps if what == "answered"} == batch


def test_all_of_a_batch_are_under_way_together(load: Load, shop: Shop) -> None:
    shop.faults = dict.fromkeys(range(1, 13), Fault.HOLD_BACK)
    load("--orders", "12", "--batch", "4")
    assert shop.most_outstanding == 4


def test_the_last_batch_may_be_smaller(load: Load, shop: Shop) -> None:
    assert load("--orders", "7", "--batch", "3").json["accepted"] == 7
    assert shop.most_outstanding <= 3


def test_batches_use_the_same_connections_again(load: Load, shop: Shop) -> None:
    load("--orders", "30", "--batch", "3")
    assert shop.connections <= 3 + 30 + 2


@pytest.mark.parametrize("batch", ["1", "50"])
def test_a_batch_may_be_one_order_or_more_than_there_are(batch: str, load: Load) -> None:
    assert load("--orders", "6", "--batch", batch).json["accepted"] == 6
