"""Requests for orders get equal responses from the plain lane and from Tornado."""

import asyncio
import logging

import pytest

from handlers.security.rate_limit import RateLimit
from models.errors import (
    CommitUnknownError,
    QueueClosedError,
    QueueFullError,
    StorageBusyError,
    StorageDamagedError,
    StorageUnavailableError,
)
from models.parsing.order_body import MAX_ID
from models.writes.waiter import Waiter
from tests.handlers.both_ways import ID, VARIANTS, Variant, by_both_ways
from tests.handlers.conftest import StartApi
from tests.handlers.problem_check import assert_is_problem
from tests.handlers.running_api import RunningApi, Way, WayLog, get_text, post_text
from tests.handlers.security.sample_keys import TOKENS, UNKNOWN, build_guard
from tests.models.samples import order_text


def key(token: str) -> str:
    return f"Authorization: Bearer {token}\r\n"


REQUESTS = [
    post_text(order_text(), headers=ID),
    post_text(order_text(), headers=ID),
    post_text(order_text(user_id="2"), headers=ID),
    post_text(order_text(order_id=str(MAX_ID), metadata='{"a":"é"}'), headers=ID),
    post_text(order_text(order_id=str(MAX_ID + 1)), headers=ID),
    post_text(b"", headers=ID),
    post_text(b"{", headers=ID),
    post_text(order_text(metadata="null"), headers=ID),
    post_text(b"\xef\xbb\xbf" + order_text(), headers=ID),
    post_text(b"\xef\xbb\xbf", headers=ID),
    post_text(b"[]", headers=ID),
    post_text(b"\xff", headers=ID),
    post_text(b"{}", headers=ID),
    post_text(order_text(item_ids="[0]", user_id="true", more="1"), headers=ID),
    post_text(b" " * 60_000 + order_text(order_id="2"), headers=ID),
    post_text(order_text(), headers=ID).replace(b"application/json", b"application/json; charset=utf-8"),
    post_text(order_text(), headers=ID).replace(b"application/json", b"text/plain"),
    post_text(order_text(), headers=ID).replace(b"Content-Type: application/json\r\n", b""),
    get_text("/order/12345", headers=ID),
    get_text(f"/order/{MAX_ID}", headers=ID),
    get_text("/order/7", headers=ID),
    get_text("/order/0", headers=ID),
    get_text("/order/007", headers=ID),
    get_text(f"/order/{MAX_ID + 1}", headers=ID),
    get_text("/order/12345", headers=f"{ID}Content-Length: 5\r\n") + b"hello",
]
TEMPORARY_ERRORS = [
    QueueFullError(),
    QueueClosedError(),
    StorageBusyError(),
    StorageUnavailableError("x"),
    StorageDamagedError("x"),
    CommitUnknownError("x"),
]


@pytest.mark.gen_test
@pytest.mark.parametrize("variant", VARIANTS)
async def test_the_lane_responds_as_tornado_does(start_api: StartApi, variant: Variant) -> None:
    statuses = await by_both_ways(start_api, [variant(request) for request in REQUESTS])
    assert statuses[:14] == [202, 202, 409, 202, 422, 400, 400, 202, 202, 400, 422, 400, 422, 422]
    assert statuses[14:] == [202, 202, 415, 415, 200, 200, 404, 404, 404, 404, 200]


@pytest.mark.gen_test
@pytest.mark.parametrize("variant", VARIANTS)
async def test_keys_and_rate_limits_are_the_same_on_the_lane(start_api: StartApi, variant: Variant) -> None:
    tokens = [
        "",
        key(UNKNOWN),
        key("x"),
        key(TOKENS["read"]),
        *[key(TOKENS["write"])] * 4,
        "Authorization: Basic x\r\n",
    ]
    requests = [post_text(order_text(), headers=ID + token) for token in tokens]
    requests += [get_text("/order/12345", headers=ID + key(token)) for token in TOKENS.values()]
    statuses = await by_both_ways(
        start_api, list(map(variant, requests)), options={"guard": lambda: build_guard(RateLimit(3, 60))}
    )
    assert statuses == [401, 401, 401, 403, 202, 202, 202, 429, 429, 200, 429, 200]


@pytest.mark.gen_test
@pytest.mark.parametrize("is_raised", [True, False])
async def test_temporary_errors_are_the_same_on_the_lane(start_api: StartApi, is_raised: bool) -> None:
    requests = [post_text(order_text(), headers=ID), get_text("/order/1", headers=ID)] * len(TEMPORARY_ERRORS)
    # Each error fails two requests, first on the lane and then with Tornado.
    errors = iter([error for error in TEMPORARY_ERRORS for _ in range(2)] * 2)

    def fail_for(_: object, waiter: Waiter[object]) -> None:
        error = next(errors)
        if is_raised:
            raise error
        waiter.set_exception(error)

    def fail(_: object) -> "asyncio.Future[object]":
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        fail_for(_, future)
        return future

    overrides = {
        "insert": lambda: fail,
        "insert_for": lambda: fail_for,
        "find": lambda: fail,
        "find_for": lambda: fail_for,
    }
    assert await by_both_ways(start_api, requests, options=overrides) == [503] * len(requests)
    assert list(errors) == []


@pytest.mark.gen_test
@pytest.mark.parametrize("variant", VARIANTS)
async def test_while_draining_a_plain_response_closes_its_connection(start_api: StartApi, variant: Variant) -> None:
    def drain(api: RunningApi) -> None:
        api.in_flight.draining = True

    assert await by_both_ways(start_api, list(map(variant, REQUESTS)), prepare=drain)


@pytest.mark.gen_test
async def test_requests_that_are_not_plain_are_left_to_tornado(start_api: StartApi) -> None:
    log = WayLog()
    api = await start_api(access_log=log)
    requests = [
        post_text(order_text(), headers="Prefer: respond-async\r\n"),
        get_text("/order/12345?wait=0"),
        get_text("/order/12345", method="HEAD"),
        get_text("/order/"),
        get_text("/order/x"),
        get_text("/order"),
        get_text("/order/12345", version="1.0", headers="Connection: keep-alive\r\n"),
        post_text(order_text()).replace(b"/order ", b"/orders "),
    ]
    for request in requests:
        async with api.connection() as connection:
            await connection.send(request)
            await connection.answer(has_body=b"HEAD" not in request)
    assert log.ways == {Way.TORNADO}


@pytest.mark.gen_test
async def test_an_unexpected_error_on_the_lane_is_a_500_and_logged(
    start_api: StartApi, log: list[logging.LogRecord]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    api = await start_api(insert_for=fail)
    api.way = Way.LANE
    answer = await api.post(order_text(), {"Content-Type": "application/json", "X-Request-Id": "mine"})
    assert_is_problem(answer, 500, "internal-error", "/order")
    assert [(record.getMessage(), record.exc_info is not None) for record in log] == [
        ("request mine failed: /order", True)
    ]
    assert [vars(record)["fields"] for record in log] == [{"request_id": "mine", "order_id": 12345}]
    log.clear()
