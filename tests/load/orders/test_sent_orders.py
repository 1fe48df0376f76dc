"""The states of the orders that a server was sent."""

from random import Random

from load.orders.generated import GeneratedOrders, SentOrders


def _sent_orders(count: int) -> SentOrders:
    """`count` sent orders, with ids from 100 on."""
    orders = SentOrders(GeneratedOrders(first_id=100, count=1_000_000))
    orders.note_sent(orders.take(count))
    return orders


def test_an_acknowledged_order_is_missing_until_it_is_found() -> None:
    orders = _sent_orders(3)
    orders.note_acknowledged([0, 2])
    assert (len(orders), orders.acknowledged, orders.missing) == (3, 2, 2)
    assert orders.note_found(100)
    assert orders.missing == 1
    assert orders.note_found(102)
    assert orders.missing == 0


def test_an_order_without_an_answer_may_be_found_once() -> None:
    orders = _sent_orders(1)
    orders.take(1)
    assert orders.note_found(100)
    assert not orders.note_found(100)
    assert not orders.note_found(101)
    assert not orders.note_found(102)
    assert not orders.note_found(99)


def test_only_acknowledged_orders_are_chosen_however_rare_they_are() -> None:
    orders = _sent_orders(100_000)
    assert orders.any_acknowledged(Random(1)) is None
    orders.note_acknowledged([3, 7])
    assert {orders.any_acknowledged(Random(seed)) for seed in range(50)} <= {3, 7}
    orders.note_found(103)
    assert {orders.any_acknowledged(Random(seed)) for seed in range(50)} == {7}


def test_an_order_is_unknown_until_it_was_sent() -> None:
    orders = _sent_orders(1)
    orders.take(1)
    assert [orders.index_of(order_id) for order_id in (99, 100, 101, 102)] == [None, 0, None, None]


def test_an_order_is_acknowledged_once_however_often_it_is_noted() -> None:
    orders = _sent_orders(3)
    orders.note_acknowledged([1, 2])
    orders.note_acknowledged([1])
    orders.note_sent([1])
    assert (orders.acknowledged, orders.acknowledged_indexes()) == (2, [1, 2])
