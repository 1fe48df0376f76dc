"""`GET /orders?error=…`: pages of orders whose error contains a text."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from tornado.ioloop import IOLoop

from handlers.orders.error_filter import EXAMINED_BY_READ, MAX_EXAMINED
from models.order import Order, Status
from models.parsing.array_reader import MAX_ORDERS
from tests.cases import cases
from tests.handlers.processing import claim, end
from tests.handlers.running_api import JSON, RunningApi
from tests.process import order

COUNT = MAX_EXAMINED + EXAMINED_BY_READ + 1
"""More orders than one request examines."""


async def fail(api: RunningApi, count: int, error_of: Callable[[Order], str]) -> None:
    """Sends the orders 1 to `count`, and makes them Failed."""
    order_ids = range(1, count + 1)
    for begin in range(0, count, MAX_ORDERS):
        bodies = [order(order_id) for order_id in order_ids[begin : begin + MAX_ORDERS]]
        sent = await api.request("POST", "/orders", json.dumps(bodies).encode(), JSON)
        assert sent.json["accepted"] == len(bodies)
        claimed = await claim(api)
        for error in {error_of(each) for each in claimed}:
            await end(api, [each for each in claimed if error_of(each) == error], Status.FAILED, error)


@pytest.fixture
def three_in_ten(api: RunningApi, io_loop: IOLoop) -> RunningApi:
    """An API with ten Failed orders. Orders 2, 5 and 9 were declined."""
    io_loop.run_sync(lambda: fail(api, 10, lambda each: "declined" if each.order_id in (2, 5, 9) else "time-out"))
    return api


async def pages(api: RunningApi, query: str) -> list[list[int]]:
    """The ids of each page. Follows the cursors."""
    found: list[list[int]] = []
    cursor: str | None = ""
    while cursor is not None:
        page: Any = (await api.get(f"/orders?{query}{cursor and f'&cursor={cursor}'}")).json
        found.append([each["order_id"] for each in page["orders"]])
        cursor = page["next_cursor"]
    return found


@pytest.mark.gen_test
@cases(
    ("query", "expected"),
    [
        ("error=declined", [[9, 5, 2]]),
        ("error=declined&limit=3", [[9, 5, 2]]),
        ("error=declined&limit=2", [[9, 5], [2]]),
        ("error=declined&limit=1&status=Failed", [[9], [5], [2]]),
        ("error=refused", [[]]),
    ],
)
async def test_the_pages_have_all_matching_orders(
    three_in_ten: RunningApi, query: str, expected: list[list[int]]
) -> None:
    assert await pages(three_in_ten, query) == expected


@pytest.mark.gen_test
async def test_oldest_first_a_cursor_continues_after_the_last_match(three_in_ten: RunningApi) -> None:
    query = "/orders?error=declined&oldest_first=true&limit=2"
    first = (await three_in_ten.get(query)).json
    second = (await three_in_ten.get(f"{query}&cursor={first['next_cursor']}")).json
    assert [[each["order_id"] for each in page["orders"]] for page in (first, second)] == [[2, 5], [9]]


@pytest.mark.gen_test
async def test_one_request_examines_a_limited_number_of_orders(api: RunningApi) -> None:
    await fail(api, COUNT, lambda each: "declined" if each.order_id == 1 else "time-out")
    assert await pages(api, "error=declined&status=Failed") == [[], [1]]


@pytest.mark.gen_test
async def test_an_export_examines_all_orders(api: RunningApi) -> None:
    await fail(api, COUNT, lambda each: "declined" if each.order_id <= 2 else "time-out")
    for limit, expected in (("", [2, 1]), ("&limit=2", [2, 1]), ("&limit=1", [2])):
        lines = (await api.get(f"/orders?format=ndjson&error=declined{limit}")).body.splitlines()
        assert [json.loads(line)["order_id"] for line in lines] == expected


@pytest.mark.gen_test
async def test_a_text_that_no_database_can_store_is_found(api: RunningApi) -> None:
    await fail(api, 1, lambda _: "no\0stock")
    assert await pages(api, "error=no%00stock") == [[1]]
