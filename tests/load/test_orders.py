"""The generated orders."""

from decimal import Decimal

from load.json_value import decode_json
from load.orders import GeneratedOrders


def test_an_order_follows_from_its_id_alone() -> None:
    source = GeneratedOrders(first_id=1000, count=500)
    later = GeneratedOrders(first_id=1499, count=1)
    assert source.order(499) == later.order(0)
    assert source.body(499) == later.body(0)
    assert (len(source), source.order_id(0), source.order_id(499)) == (500, 1000, 1499)


def test_what_is_sent_is_what_is_compared() -> None:
    source = GeneratedOrders(first_id=2**53 - 100, count=200)
    assert all(decode_json(source.body(index)) == source.order(index) for index in range(200))


def test_orders_vary_as_a_shop_s_do() -> None:
    source = GeneratedOrders(first_id=1, count=2000)
    orders = [source.order(index) for index in range(2000)]
    amounts = [Decimal(str(order["total_amount"])) for order in orders]
    items = [order["item_ids"] for order in orders]
    assert len({str(order["user_id"]) for order in orders}) > 1000
    assert {len(one) for one in items if isinstance(one, list)} == {1, 2, 3, 4, 5}
    assert {-int(amount.as_tuple().exponent) for amount in amounts} == {0, 1, 2, 3, 4}
    assert all(0 <= amount < 10_000_000_000 for amount in amounts)
