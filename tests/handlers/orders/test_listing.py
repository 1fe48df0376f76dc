"""`GET /orders`: filters, pages, links and invalid queries."""

import asyncio
import re
from asyncio import Future
from typing import Any

import pytest
from tornado.ioloop import IOLoop

from handlers.orders.cursor import cursor_of
from models.errors import QueueFullError, StorageUnavailableError
from models.listing import HIGHEST, Listing, Page
from models.order import Status
from models.parsing.order_body import MAX_ID
from tests.cases import cases
from tests.handlers.conftest import StartApi
from tests.handlers.problem_check import assert_is_problem
from tests.handlers.processing import claim, end
from tests.handlers.running_api import Answer, RunningApi, get_text
from tests.models.samples import SECOND_US, order_text

INVALID_CURSOR = "must be a cursor of a response with the same oldest_first"


async def accept(api: RunningApi, count: int) -> None:
    """Sends orders 1 to `count`, a second apart, for users 1 and 2 alternately."""
    for order_id in range(1, count + 1):
        answer = await api.post(order_text(order_id=str(order_id), user_id=str(2 - order_id % 2)))
        assert answer.status == 202
        api.clock.now_us += SECOND_US


async def sequence_of(api: RunningApi, order_id: int) -> int:
    order = await api.orders.find(order_id)
    assert order
    return order.sequence


def ids(answer: Answer) -> list[int]:
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert list(answer.json) == ["orders", "next_cursor"]
    return [order["order_id"] for order in answer.json["orders"]]


def next_of(answer: Answer) -> str | None:
    """The path of the next page, which must contain the cursor."""
    cursor = answer.json["next_cursor"]
    link = answer.headers.get("Link")
    if link is None:
        assert cursor is None
        return None
    match = re.fullmatch(r'<(/orders\?[!-~]+)>; rel="next"', link)
    assert match
    assert match[1].endswith(f"cursor={cursor}")
    return match[1]


async def follow(api: RunningApi, path: str | None) -> list[list[int]]:
    """The ids of each page. Follows the links."""
    pages = []
    while path is not None:
        answer = await api.get(path)
        pages.append(ids(answer))
        path = next_of(answer)
    return pages


@pytest.mark.gen_test
async def test_without_orders_the_page_is_empty(shared_api: RunningApi) -> None:
    answer = await shared_api.get("/orders")
    assert (answer.body, answer.status) == (b'{"orders":[],"next_cursor":null}', 200)
    assert "Link" not in answer.headers


@pytest.mark.gen_test
async def test_a_listed_order_equals_the_single_order(api: RunningApi) -> None:
    await accept(api, 3)
    [claimed] = await claim(api, 1)
    await end(api, [claimed], Status.FAILED, "no stock")
    answer = await api.get("/orders")
    assert answer.json["orders"] == [(await api.get(f"/order/{order_id}")).json for order_id in (3, 2, 1)]


@pytest.mark.gen_test
async def test_the_links_lead_through_all_pages(api: RunningApi) -> None:
    await accept(api, 7)
    assert await follow(api, "/orders?limit=3") == [[7, 6, 5], [4, 3, 2], [1]]
    assert await follow(api, "/orders?limit=7") == [[7, 6, 5, 4, 3, 2, 1]]
    assert await follow(api, "/orders") == [[7, 6, 5, 4, 3, 2, 1]]


@pytest.mark.gen_test
async def test_a_page_has_50_orders_by_default(api: RunningApi) -> None:
    await accept(api, 51)
    assert [len(page) for page in await follow(api, "/orders")] == [50, 1]
    assert [len(page) for page in await follow(api, "/orders?limit=200")] == [51]


@pytest.mark.gen_test
async def test_new_orders_do_not_shift_the_pages(api: RunningApi) -> None:
    await accept(api, 5)
    first = await api.get("/orders?limit=2")
    assert (await api.post(order_text(order_id="99"))).status == 202
    assert (ids(first), await follow(api, next_of(first))) == ([5, 4], [[3, 2], [1]])


@pytest.mark.gen_test
async def test_the_next_link_keeps_all_filters(api: RunningApi) -> None:
    await accept(api, 12)
    await end(api, await claim(api, 10))
    # Order n was created n - 1 seconds after noon.
    query = "status=Completed&user_id=2&created_after=2025-03-01T14:00:03%2B02:00&created_before=2025-03-01+12:00:10"
    assert await follow(api, f"/orders?limit=1&{query}") == [[10], [8], [6], [4]]
    path = next_of(await api.get(f"/orders?limit=1&{query}"))
    assert path == (
        "/orders?status=Completed&user_id=2&created_after=2025-03-01T14%3A00%3A03%2B02%3A00"
        "&created_before=2025-03-01%2012%3A00%3A10&limit=1&cursor=" + cursor_of(await sequence_of(api, 10))
    )


@pytest.fixture
def five_orders(api: RunningApi, io_loop: IOLoop) -> RunningApi:
    """An API with five orders. Orders 1, 2 and 5 are Failed, Processing and Cancelled."""

    async def prepare() -> None:
        await accept(api, 5)
        await api.request("POST", "/order/5/cancel")
        first, _ = await claim(api, 2)
        await end(api, [first], Status.FAILED, "no stock")

    io_loop.run_sync(prepare)
    return api


@pytest.mark.gen_test
@cases(
    ("query", "expected"),
    [
        ("status=Pending", [4, 3]),
        ("status=Processing", [2]),
        ("status=Failed", [1]),
        ("status=Completed", []),
        ("status=Cancelled", [5]),
        ("user_id=2", [4, 2]),
        (f"user_id={MAX_ID}", []),
        ("created_after=2025-03-01T12:00:03Z", [5, 4]),
        ("created_after=2025-03-01T12:00:02.000001Z", [5, 4]),
        ("created_before=2025-03-01T12:00:01Z", [1]),
        ("created_before=2025-03-01T12:00:01.0000001Z", [2, 1]),
        ("created_after=2025-03-01T12:00:01Z&created_before=2025-03-01T12:00:03Z&user_id=1", [3]),
        ("created_after=9999-12-31T23:59:59-23:59", []),
        ("created_before=0001-01-01T00:00:00Z", []),
        ("error=no%20stock", [1]),
        ("error=stock&status=Failed&user_id=1", [1]),
        ("error=stock&status=Pending", []),
        ("error=Stock", []),
    ],
)
async def test_each_filter_selects_the_matching_orders(
    five_orders: RunningApi, query: str, expected: list[int]
) -> None:
    assert ids(await five_orders.get(f"/orders?{query}")) == expected


@pytest.mark.gen_test
@cases(
    ("query", "wrong"),
    [
        ("status=pending", ["status"]),
        ("status=Pending,Failed", ["status"]),
        ("status=Pending&status=Failed", ["status"]),
        ("user_id=0", ["user_id"]),
        ("user_id=01", ["user_id"]),
        (f"user_id={MAX_ID + 1}", ["user_id"]),
        ("user_id=1.0", ["user_id"]),
        ("limit=0", ["limit"]),
        ("limit=201", ["limit"]),
        ("limit=", ["limit"]),
        ("error=", ["error"]),
        ("created_after=yesterday", ["created_after"]),
        ("created_before=2025-03-01T12:00:00+02:00", ["created_before"]),
        ("offset=10", ["offset"]),
        ("x=1&status=&limit=x&user_id=-1&created_after=1&created_before=1&cursor=1", "all seven"),
    ],
)
async def test_invalid_parameters_are_all_reported(shared_api: RunningApi, query: str, wrong: Any) -> None:
    problem = assert_is_problem(await shared_api.get(f"/orders?{query}"), 422, "invalid-parameter", "/orders")
    if wrong == "all seven":
        wrong = ["x", "status", "user_id", "created_after", "created_before", "limit", "cursor"]
    assert sorted(error["parameter"] for error in problem["errors"]) == sorted(wrong)
    assert all(error["detail"] for error in problem["errors"])


@pytest.mark.gen_test
@cases(
    "cursor",
    ["1", "MTo", "MTox=", "MTox%20", "MjoxMA", "MTow", "MTowMQ", "MTotMQ", "%FF", "a" * 5_000, cursor_of(HIGHEST + 1)],
)
async def test_an_invalid_cursor_is_rejected(shared_api: RunningApi, cursor: str) -> None:
    problem = assert_is_problem(await shared_api.get(f"/orders?cursor={cursor}"), 422, "invalid-parameter", "/orders")
    assert problem["errors"] == [{"parameter": "cursor", "detail": INVALID_CURSOR}]


@pytest.mark.gen_test
async def test_any_valid_cursor_is_accepted(api: RunningApi) -> None:
    await accept(api, 2)
    first, second = [await sequence_of(api, order_id) for order_id in (1, 2)]
    for before, expected in ((1, []), (first, []), (second, [1]), (HIGHEST, [2, 1])):
        assert ids(await api.get(f"/orders?cursor={cursor_of(before)}")) == expected


@pytest.mark.gen_test
async def test_a_cursor_is_only_valid_for_one_direction(shared_api: RunningApi) -> None:
    for query in (f"cursor={cursor_of(1, oldest_first=True)}", f"oldest_first=true&cursor={cursor_of(1)}"):
        problem = assert_is_problem(await shared_api.get(f"/orders?{query}"), 422, "invalid-parameter", "/orders")
        assert problem["errors"] == [{"parameter": "cursor", "detail": INVALID_CURSOR}]


@pytest.mark.gen_test
async def test_oldest_first_the_link_leads_to_orders_that_are_accepted_later(api: RunningApi) -> None:
    path = "/orders?oldest_first=true&limit=2"
    empty = await api.get(path)
    assert (ids(empty), next_of(empty)) == ([], None)
    await accept(api, 3)
    first = await api.get(path)
    second = await api.get(next_of(first) or "")
    last = await api.get(next_of(second) or "")
    assert [ids(each) for each in (first, second, last)] == [[1, 2], [3], []]
    await api.post(order_text(order_id="4"))
    assert ids(await api.get(next_of(last) or "")) == ids(await api.get(next_of(second) or "")) == [4]


@pytest.mark.gen_test
async def test_head_is_get_without_the_body(api: RunningApi) -> None:
    await accept(api, 3)
    got = await api.get("/orders?limit=2")
    head = await api.request("HEAD", "/orders?limit=2")
    assert (head.status, head.body) == (200, b"")
    assert {name: head.headers[name] for name in ("Content-Length", "Content-Type", "Link")} == {
        name: got.headers[name] for name in ("Content-Length", "Content-Type", "Link")
    }


@pytest.mark.gen_test
@cases("method", ["DELETE", "PUT", "PATCH", "OPTIONS"])
async def test_other_methods_are_a_405_with_allow(shared_api: RunningApi, method: str) -> None:
    answer = await shared_api.request(method, "/orders", b"")
    assert_is_problem(answer, 405, "method-not-allowed", "/orders")
    assert answer.headers["Allow"] == "GET, HEAD, POST"


@pytest.mark.gen_test
async def test_a_long_listing_does_not_delay_other_requests(api: RunningApi) -> None:
    await accept(api, 1)
    with api.blocked(listings=True):
        listing = asyncio.ensure_future(api.get("/orders"))
        await api.until_in_flight(1)
        assert (await api.get("/order/1")).status == 200
        assert (await api.post(order_text(order_id="2"))).status == 202
        assert (await api.get("/metrics")).json["total_orders"] == 2
    assert ids(await listing) == [2, 1]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("error", "slug"),
    [(QueueFullError(), "overloaded"), (StorageUnavailableError("gone"), "storage-unavailable")],
    ids=["full", "gone"],
)
async def test_a_listing_that_cannot_be_read_is_a_503(start_api: StartApi, error: Exception, slug: str) -> None:
    def fail(listing: Listing) -> Future[Page]:
        raise error

    answer = await (await start_api(list_orders=fail)).get("/orders")
    assert_is_problem(answer, 503, slug, "/orders")
    assert answer.headers["Retry-After"] == "1"


@pytest.mark.gen_test
async def test_a_disconnect_cancels_the_listing(start_api: StartApi) -> None:
    asked: list[Future[Page]] = []

    def wait(listing: Listing) -> Future[Page]:
        asked.append(asyncio.get_running_loop().create_future())
        return asked[-1]

    api = await start_api(list_orders=wait)
    async with api.connection() as connection:
        await connection.send(get_text("/orders"))
        await api.until_in_flight(1)
    await api.until_in_flight(0)
    assert [each.cancelled() for each in asked] == [True]
