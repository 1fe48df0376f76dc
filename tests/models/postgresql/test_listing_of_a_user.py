"""Lists of a user with many orders and a rare status: both indexes are read side by side."""

from collections.abc import Iterator

import pytest

from models.listing import Listing
from models.order import Status
from models.postgresql.listing_statements import MANY_ORDERS
from models.store import Store
from tests.models.engines import StoredOrder
from tests.models.postgresql.engine import PostgresqlEngine
from tests.models.samples import Clock

pytestmark = pytest.mark.postgresql

ORDERS = 2 * MANY_ORDERS + 500
RARE = (Status.PENDING, Status.PROCESSING, Status.FAILED, Status.CANCELLED)


def stored(sequence: int) -> StoredOrder:
    """Two of three orders are of user 1, and a sixth of all have each status; two sixths are Completed."""
    status = (*RARE, Status.COMPLETED, Status.COMPLETED)[sequence // 3 % 6]
    due_us = sequence if status is Status.PENDING and sequence % 4 else None
    return StoredOrder(sequence, 1 if sequence % 3 else 2, status, sequence, due_us)


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    engine = PostgresqlEngine()
    engine.put(list(map(stored, range(1, ORDERS + 1))))
    yield engine.open(Clock())
    engine.close()


def listed(store: Store, status: Status, user_id: int, *, oldest_first: bool) -> list[int]:
    """The sequences of all pages."""
    sequences: list[int] = []
    last: int | None = 0 if oldest_first else ORDERS + 1
    while last is not None:
        page = store.list_orders(
            Listing(limit=97, oldest_first=oldest_first, last=last, status=status, user_id=user_id)
        )
        sequences += [order.sequence for order in page.orders]
        assert {order.status for order in page.orders} <= {status}
        last = page.last
    return sequences


@pytest.mark.parametrize("user_id", [1, 2, 3])
@pytest.mark.parametrize("status", Status)
def test_the_orders_of_a_user_with_a_status_are_listed(store: Store, status: Status, user_id: int) -> None:
    expected = [
        each for each in range(ORDERS, 0, -1) if (stored(each).status, stored(each).user_id) == (status, user_id)
    ]
    assert listed(store, status, user_id, oldest_first=False) == expected
    assert listed(store, status, user_id, oldest_first=True) == expected[::-1]
    assert bool(expected) is (user_id != 3)
