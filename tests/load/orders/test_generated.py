"""Orders that are computed from their ids."""

from collections import Counter
from decimal import Decimal

from msgspec import structs

from load.orders.comparison import decode_json
from load.orders.generated import GeneratedOrders, VariedOrders, as_another_order
from load.orders.sources import MAX_ID
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
    assert max(order.user_id for order in orders) > MAX_ID - 10_001
    assert max(max(order.item_ids) for order in orders) > MAX_ID - 1_001
    assert max(len(order.item_ids) for order in orders) == 999
    assert max(order.total_amount for order in orders) > 9_999_900_000_0000
    # Arrays of a hundred are with them and without.
    assert 100 < len({index // 100 for index in varied}) < 180


def test_another_order_is_valid_and_differs_only_in_its_items() -> None:
    source = VariedOrders(first_id=1, count=2_000)
    for body in map(source.body, range(2_000)):
        order, other = parse_order(body), parse_order(as_another_order(body))
        assert other.item_ids == [7, *order.item_ids]
        assert structs.replace(other, item_ids=order.item_ids) == order
