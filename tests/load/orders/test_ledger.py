"""What is kept of the orders that a server was sent."""

from random import Random

from load.orders.generated import GeneratedOrders
from load.orders.ledger import Ledger


def _ledger(orders: int) -> Ledger:
    """A ledger of so many orders that were sent, with the ids from 100 on."""
    ledger = Ledger(GeneratedOrders(first_id=100, count=1_000_000))
    ledger.note_sent(ledger.take(orders))
    return ledger


def test_an_acknowledged_order_is_missing_until_it_is_found() -> None:
    ledger = _ledger(3)
    ledger.note_acknowledged([0, 2])
    assert (len(ledger), ledger.acknowledged, ledger.missing) == (3, 2, 2)
    assert ledger.note_found(100)
    assert ledger.missing == 1
    assert ledger.note_found(102)
    assert ledger.missing == 0


def test_an_order_without_an_answer_may_be_there_and_one_that_was_never_sent_or_comes_twice_may_not() -> None:
    ledger = _ledger(1)
    ledger.take(1)
    assert ledger.note_found(100)
    assert not ledger.note_found(100)
    assert not ledger.note_found(101)
    assert not ledger.note_found(102)
    assert not ledger.note_found(99)


def test_only_acknowledged_orders_are_chosen_however_rare_they_are() -> None:
    ledger = _ledger(100_000)
    assert ledger.any_acknowledged(Random(1)) is None
    ledger.note_acknowledged([3, 7])
    assert {ledger.any_acknowledged(Random(seed)) for seed in range(50)} <= {3, 7}
    ledger.note_found(103)
    assert {ledger.any_acknowledged(Random(seed)) for seed in range(50)} == {7}


def test_an_order_is_a_stranger_until_it_has_been_sent() -> None:
    ledger = _ledger(1)
    ledger.take(1)
    assert [ledger.index_of(order_id) for order_id in (99, 100, 101, 102)] == [None, 0, None, None]


def test_an_order_is_acknowledged_once_however_often_it_is_noted() -> None:
    ledger = _ledger(3)
    ledger.note_acknowledged([1, 2])
    ledger.note_acknowledged([1])
    ledger.note_sent([1])
    assert (ledger.acknowledged, ledger.acknowledged_indexes()) == (2, [1, 2])
