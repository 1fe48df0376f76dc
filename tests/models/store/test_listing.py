"""Listings with every combination of filters, compared with a plain list of the orders."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.listing import Listing, Page
from models.order import Order, Status
from models.sqlite import blocks
from models.store import Store
from models.writes.insertion import NewOrder
from tests.models.engines import Engine, StoredOrder
from tests.models.samples import SECOND_US, Clock, new_order
from tests.models.shorthand_store import ShorthandStore

BLOCK = 1 << blocks.BLOCK_BITS
"""The orders of one block of the SQLite store, whose edges are of interest."""
LARGEST = 2**63 - 1


def expected(orders: Sequence[StoredOrder], listing: Listing) -> list[int]:
    """The sequences of all matching orders, in the order of the listing."""
    last = listing.last
    wanted = [
        each.sequence
        for each in orders
        if (last is None or (each.sequence > last if listing.oldest_first else each.sequence < last))
        and listing.status in (None, each.status)
        and listing.user_id in (None, each.user_id)
        and (listing.created_from_us is None or each.created_us >= listing.created_from_us)
        and (listing.created_until_us is None or each.created_us < listing.created_until_us)
    ]
    return sorted(wanted, reverse=not listing.oldest_first)


def pages(store: Store, **wanted: Any) -> Iterator[Page]:
    """All pages, from the first to the last."""
    page = store.list_orders(Listing(**wanted))
    yield page
    last: int | None = None
    while page.last is not None:
        assert last is None or (page.last > last if wanted.get("oldest_first") else page.last < last)
        last = page.last
        page = store.list_orders(Listing(**(wanted | {"last": last})))
        yield page


def sequences(orders: Sequence[Order]) -> list[int]:
    return [order.sequence for order in orders]


# Sequences around the edges of some blocks.
PLACES = st.builds(
    lambda block, offset: max(1, block * BLOCK + offset),
    st.sampled_from([0, 1, 2, 3, 7]),
    st.sampled_from([-2, -1, 0, 1, 2, 100]),
)
TIMES = st.integers(0, 9)
ORDERS = st.lists(
    st.builds(StoredOrder, PLACES, st.integers(1, 3), st.sampled_from(Status), TIMES, st.none() | TIMES),
    max_size=25,
    unique_by=lambda order: order.sequence,
)
LISTINGS = st.fixed_dictionaries(
    {"limit": st.integers(1, 6)},
    optional={
        "oldest_first": st.booleans(),
        "last": PLACES,
        "status": st.sampled_from(Status),
        "user_id": st.integers(1, 4),
        "created_from_us": TIMES,
        "created_until_us": TIMES,
    },
)


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(orders=ORDERS, wanted=st.lists(LISTINGS, min_size=1, max_size=10))
def test_the_pages_of_any_listing_contain_all_matching_orders_in_order(
    engine: Engine, store: ShorthandStore, orders: list[StoredOrder], wanted: list[dict[str, Any]]
) -> None:
    engine.put(orders)
    for each in wanted:
        got = list(pages(store, **each))
        assert [sequence for page in got for sequence in sequences(page.orders)] == expected(orders, Listing(**each))
        assert [len(page.orders) for page in got[:-1]] == [each["limit"]] * (len(got) - 1)
        assert got[-1].orders or len(got) == 1


@pytest.mark.parametrize("oldest_first", [False, True])
def test_every_combination_of_filters_is_correct(engine: Engine, store: ShorthandStore, oldest_first: bool) -> None:
    orders = [
        StoredOrder(1 + n * BLOCK // 5, 1 + n % 2, list(Status)[n // 2 % 5], n * 7 % 40, n % 3 or None)
        for n in range(40)
    ]
    engine.put(orders)
    for status in (None, *Status):
        for user_id in (None, 1, 3):
            for from_us, until_us in ((None, None), (10, None), (None, 30), (10, 30), (30, 10), (20, 21)):
                listing = Listing(
                    limit=3,
                    status=status,
                    user_id=user_id,
                    created_from_us=from_us,
                    created_until_us=until_us,
                    oldest_first=oldest_first,
                    last=(6 if oldest_first else 35) * BLOCK // 5,
                )
                wanted = expected(orders, listing)
                page = store.list_orders(listing)
                assert (sequences(page.orders), page.last) == (wanted[:3], wanted[2] if len(wanted) > 3 else None)


def test_a_listed_order_equals_the_one_that_find_returns(store: ShorthandStore) -> None:
    store.insert(NewOrder(LARGEST, LARGEST, [LARGEST] * 3, 99_999_999_999_999, '{ "a": "é😀" }'), new_order(2))
    [claimed] = store.claim(1)
    store.finish_attempt(claimed, Status.FAILED, "no\nstock")
    for wanted in (Listing(limit=2), Listing(limit=2, created_from_us=0)):
        assert store.list_orders(wanted).orders == store.find([2, LARGEST])
    assert store.list_orders(Listing(limit=2, user_id=LARGEST)).orders == store.find([LARGEST])


@pytest.mark.parametrize("wanted", [{}, {"status": Status.FAILED}, {"user_id": 1}, {"created_until_us": 5}])
def test_an_empty_store_has_one_empty_page(store: ShorthandStore, wanted: dict[str, Any]) -> None:
    assert store.list_orders(Listing(limit=1, **wanted)) == Page([], None)


@pytest.mark.parametrize("wanted", [{}, {"user_id": 1}, {"status": Status.PENDING}, {"created_from_us": 0}])
def test_new_orders_do_not_shift_the_pages(store: ShorthandStore, clock: Clock, wanted: dict[str, Any]) -> None:
    store.insert(*map(new_order, range(1, 10)))
    got = []
    for count, page in enumerate(pages(store, limit=2, **wanted)):
        got += sequences(page.orders)
        clock.now_us += SECOND_US * (-1) ** count
        store.insert(new_order(1_000 + count))
    assert got == list(range(9, 0, -1))


@pytest.mark.parametrize("wanted", [{}, {"user_id": 1}, {"status": Status.PENDING}, {"created_from_us": 0}])
def test_oldest_first_a_listing_goes_on_with_the_orders_accepted_later(
    store: ShorthandStore, clock: Clock, wanted: dict[str, Any]
) -> None:
    got: list[int] = []
    for count in range(1, 10):
        store.insert(*map(new_order, range(10 * count, 11 * count)))
        clock.now_us += SECOND_US * (-1) ** count
        for page in pages(store, limit=2, oldest_first=True, last=got[-1] if got else None, **wanted):
            got += sequences(page.orders)
    assert got == list(range(1, 46))


def test_the_time_filter_includes_its_start_and_excludes_its_end(engine: Engine, store: ShorthandStore) -> None:
    engine.put([StoredOrder(n, 1, Status.COMPLETED, 100 - n) for n in range(1, 10)])
    page = store.list_orders(Listing(limit=9, created_from_us=92, created_until_us=95))
    assert [order.created_us for order in page.orders] == [92, 93, 94]
