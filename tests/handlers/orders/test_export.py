"""`GET /orders?format=ndjson`: all orders of a listing as a stream."""

import json
import logging
from asyncio import Future, get_running_loop

import pytest

from handlers.orders.listing import MAX_LIMIT
from models.errors import StorageUnavailableError
from models.listing import Listing, Page
from tests.cases import cases
from tests.handlers.conftest import StartApi
from tests.handlers.orders.test_listing import accept
from tests.handlers.problem_check import assert_is_problem
from tests.handlers.running_api import Answer, RunningApi, get_text, until
from tests.models.samples import claimed_order, new_order, order_text

NDJSON = "/orders?format=ndjson"
ORDER = claimed_order(new_order(1), 1, 0)


def ids(answer: Answer) -> list[int]:
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/x-ndjson")
    assert not answer.body or answer.body.endswith(b"\n")
    return [json.loads(line)["order_id"] for line in answer.body.splitlines()]


def cursor_after(answer: Answer, order_id: int) -> str:
    lines = map(json.loads, answer.body.splitlines())
    [cursor] = [line["cursor"] for line in lines if line["order_id"] == order_id]
    return f"&cursor={cursor}"


@pytest.mark.gen_test
async def test_a_line_is_the_order_and_its_cursor(api: RunningApi) -> None:
    await api.post(order_text(metadata='{"a":1}'))
    line = (await api.get(NDJSON)).json
    assert isinstance(line.pop("cursor"), str)
    assert list(line.items()) == list((await api.get("/order/12345")).json.items())


@pytest.mark.gen_test
async def test_all_matching_orders_are_sent(api: RunningApi) -> None:
    count = 2 * MAX_LIMIT + 1
    await accept(api, count)
    newest, oldest = await api.get(NDJSON), await api.get(f"{NDJSON}&oldest_first=true")
    assert ids(newest) == list(range(count, 0, -1))
    assert ids(oldest) == list(range(1, count + 1))
    assert ids(await api.get(f"{NDJSON}&user_id=1&status=Pending")) == list(range(count, 0, -2))
    assert ids(await api.get(f"{NDJSON}&status=Failed")) == []
    assert ids(await api.get(f"{NDJSON}&limit=3")) == [count, count - 1, count - 2]


@pytest.mark.gen_test
async def test_the_cursor_of_any_line_continues_after_its_order(api: RunningApi) -> None:
    await accept(api, 5)
    newest, oldest = await api.get(NDJSON), await api.get(f"{NDJSON}&oldest_first=true")
    assert ids(await api.get(NDJSON + cursor_after(newest, 3))) == [2, 1]
    assert ids(await api.get(f"{NDJSON}&oldest_first=true{cursor_after(oldest, 3)}")) == [4, 5]
    follow = f"{NDJSON}&oldest_first=true{cursor_after(oldest, 5)}"
    assert ids(await api.get(follow)) == []
    await api.post(order_text(order_id="6"))
    assert ids(await api.get(follow)) == [6]


@pytest.mark.gen_test
async def test_head_has_no_body(api: RunningApi) -> None:
    await accept(api, 2)
    answer = await api.request("HEAD", NDJSON)
    assert (answer.status, answer.headers["Content-Type"], answer.body) == (200, "application/x-ndjson", b"")


@pytest.mark.gen_test
@pytest.mark.parametrize("headers", ["", "Connection: keep-alive\r\n"])
async def test_for_http_1_0_the_connection_is_closed_after_the_last_line(api: RunningApi, headers: str) -> None:
    await accept(api, 2)
    async with api.connection() as connection:
        await connection.send(get_text(NDJSON, version="1.0", headers=headers))
        head, _, body = (await connection.reader.read()).partition(b"\r\n\r\n")
    assert b"Connection: close" in head.split(b"\r\n")
    assert [json.loads(line)["order_id"] for line in body.splitlines()] == [2, 1]


@pytest.mark.gen_test
@cases(
    ("query", "wrong"),
    [
        ("format=csv", "format"),
        ("format=NDJSON", "format"),
        ("oldest_first=1", "oldest_first"),
    ],
)
async def test_invalid_parameters_are_reported(shared_api: RunningApi, query: str, wrong: str) -> None:
    problem = assert_is_problem(await shared_api.get(f"/orders?{query}"), 422, "invalid-parameter", "/orders")
    assert [error["parameter"] for error in problem["errors"]] == [wrong]


@pytest.mark.gen_test
async def test_an_export_that_fails_is_cut_off(start_api: StartApi, log: list[logging.LogRecord]) -> None:
    def read(listing: Listing) -> Future[Page]:
        future: Future[Page] = get_running_loop().create_future()
        if listing.last is None:
            future.set_result(Page([ORDER], 1))
        else:
            future.set_exception(StorageUnavailableError("gone"))
        return future

    api = await start_api(list_orders=read)
    async with api.connection() as connection:
        await connection.send(get_text(NDJSON))
        received = await connection.reader.read()
    assert received.endswith(b"}\n\r\n")  # without the empty chunk that ends a body
    assert [each.getMessage() for each in log] == ["an export of orders was cut off: gone"]
    log.clear()


@pytest.mark.gen_test
async def test_a_disconnect_ends_an_export(start_api: StartApi) -> None:
    asked: list[Future[Page]] = []

    def read(listing: Listing) -> Future[Page]:
        asked.append(get_running_loop().create_future())
        if listing.last is None:
            asked[-1].set_result(Page([ORDER], 1))
        return asked[-1]

    api = await start_api(list_orders=read)
    async with api.connection() as connection:
        await connection.send(get_text(NDJSON))
        await api.until_in_flight(1)
        await until(lambda: len(asked) == 2)
    await api.until_in_flight(0)
    assert asked[1].cancelled()


@pytest.mark.gen_test
async def test_a_disconnect_during_the_last_page_is_not_an_error(
    start_api: StartApi, log: list[logging.LogRecord]
) -> None:
    """The page is larger than the buffers of the sockets, so the client disconnects before the server has sent it."""
    order = claimed_order(new_order(1, metadata=f'"{"x" * 16_000}"'), 1, 0)
    page: Future[Page] = get_running_loop().create_future()
    page.set_result(Page([order] * 1_000, None))
    api = await start_api(list_orders=lambda _: page)
    async with api.connection() as connection:
        await connection.send(get_text(NDJSON))
        await connection.reader.readline()
        await api.until_in_flight(1)
    await api.until_in_flight(0)
    assert [each.getMessage() for each in log] == []
