"""Orders that are encoded as strings are stored with exactly their values."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.order import Status
from models.parsing.order_body import MAX_AMOUNT, MAX_ID
from models.sqlite import statements
from models.sqlite.database import RetryingSqliteDatabase
from models.sqlite.packed_orders import encode_packed_orders
from models.writes.insertion import NewOrder

IDS = st.sampled_from([1, 9, 10, 2**31, 10**18, MAX_ID]) | st.integers(1, MAX_ID)
AMOUNTS = st.sampled_from([0, 1, 9_999, int(MAX_AMOUNT * 10_000)]) | st.integers(0, int(MAX_AMOUNT * 10_000))
ORDERS = st.lists(
    st.builds(NewOrder, IDS, IDS, st.lists(IDS, min_size=1, max_size=5), AMOUNTS),
    min_size=1,
    max_size=5,
    unique_by=lambda order: order.order_id,
)


def store(database: RetryingSqliteDatabase, orders: list[NewOrder]) -> None:
    parameters = (Status.PENDING, 0, 0, 1, None, encode_packed_orders(orders))
    database.execute_sql(statements.INSERT_PACKED, parameters)


def stored(database: RetryingSqliteDatabase) -> list[NewOrder]:
    rows = database.execute_sql(
        """SELECT order_id, user_id, item_ids, total_amount FROM orders
        WHERE typeof(order_id) || typeof(user_id) || typeof(total_amount) = 'integerintegerinteger'
        ORDER BY sequence"""
    )
    return [
        NewOrder(order_id, user_id, json.loads(items), amount)
        for order_id, user_id, items, amount in rows
        if items == json.dumps(json.loads(items), separators=(",", ":"))
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(orders=ORDERS)
def test_all_values_are_stored_exactly(database: RetryingSqliteDatabase, orders: list[NewOrder]) -> None:
    database.pragma("synchronous", 0)
    database.execute_sql("DELETE FROM orders")
    store(database, orders)
    assert stored(database) == orders


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 1_000])
def test_any_number_of_orders_is_stored(database: RetryingSqliteDatabase, count: int) -> None:
    orders = [NewOrder(number, 2, [3, 4], 5) for number in range(1, count + 1)]
    store(database, orders)
    assert stored(database) == orders
