"""Tests orders that are computed from their ids, and the states of sent orders."""

from collections import Counter
from decimal import Decimal
from random import Random

from msgspec import structs

from load.cli.flags import HIGHEST
from load.orders.comparison import decode_json
from load.orders.generated import GeneratedOrders, SentOrders, VariedOrders, as_another_order, new_first_id
from models.parsing.order_parser import parse_order


def test_an_order_depends_only_on_its_id() -> None:
    source = GeneratedOrders(first_id=1000, count=500)
    later = GeneratedOrders(first_id=1499, count=1)
    assert source.order(499) == later.order(0)
    assert source.body(499) == later.body(0)
    assert (len(source), source.order_id(0), source.order_id(499)) == (500, 1000, 1499)


def test_what_is_sent_is_what_is_compared() -> None:
    for source in (GeneratedOrders(first_id=2**53 - 100, count=2_000), VariedOrders(first_id=2**53 - 100, count=2_000)):
        assert all(decode_json(source.body(index)) == source.order(index) for index in range(2_000))


def test_orders_vary_as_a_shop_s_do() -> None:
    source = GeneratedOrders(first_id=1, count=2000)
    orders = [source.order(index) for index in range(2000)]
    amounts = [Decimal(str(order["total_amount"])) for order in orders]
    places = Counter(-int(amount.as_tuple().exponent) for amount in amounts)
    items = [order["item_ids"] for order in orders]
    assert len({str(order["user_id"]) for order in orders}) > 1000
    assert {len(one) for one in items if isinstance(one, list)} == {1, 2, 3, 4, 5}
    assert all(0 <= amount < 500 for amount in amounts)
    assert places[2] > 1500
    assert places.keys() == {0, 1, 2, 3, 4}


def test_some_varied_orders_are_at_the_limits_and_all_are_valid() -> None:
    source = VariedOrders(first_id=2**62, count=20_000)
    plain = GeneratedOrders(first_id=2**62, count=20_000)
    varied = [index for index in range(20_000) if source.body(index) != plain.body(index)]
    assert 800 < len(varied) < 1_800
    orders = [parse_order(source.body(index)) for index in varied]
    assert all(order.metadata for order in orders)
    assert max(order.user_id for order in orders) > HIGHEST - 10_001
    assert max(max(order.item_ids) for order in orders) > HIGHEST - 1_001
    assert max(len(order.item_ids) for order in orders) == 999
    assert max(order.total_amount for order in orders) > 9_999_900_000_0000
    # Some arrays of a hundred orders contain varied orders, and some do not.
    assert 100 < len({index // 100 for index in varied}) < 180


def test_another_order_is_valid_and_differs_only_in_its_items() -> None:
    source = VariedOrders(first_id=1, count=2_000)
    for body in map(source.body, range(2_000)):
        order, other = parse_order(body), parse_order(as_another_order(body))
        assert other.item_ids == [7, *order.item_ids]
        assert structs.replace(other, item_ids=order.item_ids) == order


def _sent_orders(count: int) -> SentOrders:
    """Return a record of `count` sent orders, with ids from 100 on."""
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


def test_ids_differ_from_run_to_run() -> None:
    now_ns = 1_700_000_000_000_000_000
    first = new_first_id(clock_ns=lambda: now_ns, random_bits=lambda bits: 2**bits - 1)
    beside = new_first_id(clock_ns=lambda: now_ns, random_bits=lambda bits: 2**bits - 2)
    later = new_first_id(clock_ns=lambda: now_ns + 1_024_000_000_000, random_bits=lambda bits: 0)
    assert beside + 2_000_000 < first < first + 2_000_000 < later
    assert new_first_id(clock_ns=lambda: (2**32 - 1) * 1_000_000_000, random_bits=lambda bits: 2**bits - 1) < HIGHEST
