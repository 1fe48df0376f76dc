"""Waiting for the backlog and reading back: what the command says of orders that are not as they were sent."""

import re

import pytest

from tests.load.conftest import Load
from tests.load.shop import Fault, Shop

VALUES = {
    "order_id": b"99",
    "user_id": b"0",
    "item_ids": b"[1, 1]",
    "total_amount": b"0.0001",
    "metadata": b'{"added": 1}',
}


def test_an_order_that_was_accepted_and_is_gone_is_lost(load: Load, shop: Shop) -> None:
    shop.faults[7] = Fault.LOSE
    outcome = load("--orders", "10")
    assert outcome.status == 1
    assert "Read back 9 of 10 acknowledged orders: 1 LOST (7), none different" in outcome.out
    assert outcome.json["read_back"]["lost_ids"] == [7]
    assert outcome.json["passed"] is False


@pytest.mark.parametrize("name", VALUES)
def test_a_value_that_came_back_another_is_noticed(name: str, load: Load, shop: Shop) -> None:
    shop.altered[3] = {name: VALUES[name]}
    outcome = load("--orders", "5")
    assert outcome.status == 1
    assert re.search(rf"none lost, 1 DIFFERENT \(3: {name} is .*, sent .*\), all processed", outcome.out)
    assert list(outcome.json["read_back"]["different"]) == ["3"]


def test_only_the_first_few_of_many_are_named(load: Load, shop: Shop) -> None:
    shop.faults = dict.fromkeys(range(1, 21), Fault.LOSE)
    assert "20 LOST (1; 2; 3; 4; 5; and 15 more)" in load("--orders", "30", "--concurrency", "1").out


def test_an_order_that_never_gets_processed_is_noticed(load: Load, shop: Shop) -> None:
    shop.statuses[4] = "Processing"
    shop.waiting = [0, 1]
    outcome = load("--orders", "10")
    assert outcome.status == 1
    assert "none different, 1 NOT PROCESSED (4: Processing) (9 Completed, 1 Processing)" in outcome.out
    assert outcome.json["all_processed_after_s"] is None


def test_failed_and_cancelled_orders_are_processed_orders(load: Load, shop: Shop) -> None:
    shop.statuses = {1: "Failed", 2: "Cancelled"}
    outcome = load("--orders", "3")
    assert outcome.status == 0
    assert outcome.json["read_back"]["statuses"] == {"Failed": 1, "Cancelled": 1, "Completed": 1}


def test_it_waits_while_the_backlog_shrinks(load: Load, shop: Shop) -> None:
    shop.waiting = [0, 3, 2, 1, 0]
    assert load("--orders", "3").status == 0
    assert shop.waiting == [0]


@pytest.mark.parametrize("has_metrics", [True, False])
def test_the_metrics_are_a_hint_and_the_orders_decide(has_metrics: bool, load: Load, shop: Shop) -> None:
    shop.has_metrics = has_metrics
    shop.becomes_final_after = {2: 3}
    outcome = load("--orders", "5")
    assert outcome.status == 0
    assert outcome.json["all_processed_after_s"] > outcome.json["elapsed_s"]
