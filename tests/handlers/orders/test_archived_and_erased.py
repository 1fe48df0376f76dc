"""Archived orders are gone, but their ids are known. Erased orders have no personal data, not even in events."""

from typing import Any

import pytest

from models.order import Status
from tests.handlers.conftest import StartApi
from tests.handlers.event_stream import open_stream
from tests.handlers.orders.bulk_requests import NDJSON
from tests.handlers.problem_check import assert_is_problem
from tests.handlers.processing import archive, claim, end, process
from tests.handlers.running_api import JSON, RunningApi, get_text
from tests.handlers.security.sample_keys import TOKENS, bearer, build_guard
from tests.models.samples import order_text

ORDER = order_text(order_id="1", user_id="7", metadata='{"name": "Ann"}')
SAME = order_text(order_id="1", user_id="7", metadata='{ "name":"Ann" }', total_amount='"99.990"')
OTHER = order_text(order_id="1", user_id="8", metadata='{"name": "Ann"}')


async def end_orders(api: RunningApi, status: Status = Status.COMPLETED, error: str | None = None) -> None:
    """Stores and ends order 1, and a newer order."""
    for body in (ORDER, order_text(order_id="2")):
        assert (await api.post(body)).status == 202
    await process(api, status, error)


@pytest.mark.gen_test
async def test_an_archived_order_is_gone(api: RunningApi) -> None:
    await end_orders(api)
    before = (await api.get("/metrics")).json
    await archive(api, 1)
    for method, path in (
        ("GET", "/order/1"),
        ("GET", "/order/1?wait=1"),
        ("GET", "/order/1/attempts"),
        ("POST", "/order/1/cancel"),
        ("POST", "/order/1/retry"),
        ("POST", "/order/1/erase"),
    ):
        problem = assert_is_problem(
            await api.request(method, path), 410, "order-archived", instance=path.partition("?")[0]
        )
        assert problem["detail"] == (
            "Order 1 ended long ago, and was moved to the archive. Its id can't be used again."
        )
    metrics = (await api.get("/metrics")).json
    assert (before["archived_orders"], metrics["archived_orders"]) == (0, 1)
    assert (metrics["total_orders"], metrics["completed_orders"]) == (2, 2)
    assert [order["order_id"] for order in (await api.get("/orders")).json["orders"]] == [2]
    assert b"\norders_archived_total 1.0\n" in (await api.get("/metrics/prometheus")).body


@pytest.mark.gen_test
@pytest.mark.parametrize("headers", [JSON, JSON | {"Prefer": "wait=1"}])
async def test_an_archived_order_again_is_a_replay_or_a_conflict(api: RunningApi, headers: dict[str, str]) -> None:
    await end_orders(api)
    await archive(api, 1)
    replay = await api.post(SAME, headers)
    assert (replay.status, replay.headers["Idempotent-Replayed"]) == (202, "true")
    assert replay.json["order_id"] == "1"
    assert_is_problem(await api.post(OTHER, headers), 409, "order-conflict")
    assert await claim(api) == []


@pytest.mark.gen_test
async def test_archived_orders_in_a_stream(api: RunningApi) -> None:
    await end_orders(api)
    await archive(api, 1)
    answer = await api.request("POST", "/orders", b"\n".join([SAME, OTHER, order_text(order_id="3")]), NDJSON)
    assert (answer.status, answer.json["accepted"], answer.json["duplicates"]) == (202, 1, 1)
    assert [(each["index"], each["status"]) for each in answer.json["rejected"]] == [(1, 409)]


@pytest.mark.gen_test
async def test_an_erased_order_has_no_personal_data(api: RunningApi, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "orders.erasure")
    await end_orders(api, Status.FAILED, "Ann is unknown")
    before = (await api.get("/order/1")).json
    answer = await api.request("POST", "/order/1/erase")
    expected: dict[str, Any] = {**before, "user_id": 0, "error": None}
    del expected["metadata"]
    assert (answer.status, answer.json) == (200, expected)
    assert (await api.get("/order/1")).json == expected
    assert (await api.post(SAME)).headers["Idempotent-Replayed"] == "true"
    assert_is_problem(await api.post(OTHER), 409, "order-conflict")
    retry = await api.request("POST", "/order/1/retry")
    problem = assert_is_problem(retry, 409, "wrong-status", instance="/order/1/retry")
    assert problem["detail"] == "Order 1 is Failed and erased, not Failed or waiting for a retry."
    assert [record.getMessage() for record in caplog.records] == ["erased the personal data of order 1"]


@pytest.mark.gen_test
async def test_an_order_that_has_not_ended_is_not_erased(api: RunningApi) -> None:
    await api.post(ORDER)
    answer = await api.request("POST", "/order/1/erase")
    problem = assert_is_problem(answer, 409, "wrong-status", instance="/order/1/erase")
    assert problem["order_status"] == "Pending"
    assert_is_problem(await api.request("POST", "/order/9/erase"), 404, "not-found", instance="/order/9/erase")


@pytest.mark.gen_test
async def test_events_of_an_erased_order_have_no_personal_data(api: RunningApi) -> None:
    path = "/orders/events"
    async with open_stream(api.port, get_text(path)) as reader:
        await api.post(ORDER)
        await end(api, await claim(api), Status.FAILED, "Ann is unknown")
        [first, *_] = await reader.take(3)
        assert first.json["user_id"] == 7
        assert (await api.request("POST", "/order/1/erase")).status == 200
        await reader.take(1)
    async with open_stream(api.port, get_text(path, headers=f"Last-Event-ID: {first.last_id}\r\n")) as reader:
        events = [event.json for event in await reader.take(3)]
    assert events == [
        {"order_id": 1, "user_id": 0, "status": "Processing", "attempts": 1},
        {"order_id": 1, "user_id": 0, "status": "Failed", "attempts": 1},
        {"order_id": 1, "user_id": 0, "status": "Failed", "attempts": 1},
    ]


@pytest.mark.gen_test
async def test_only_the_scope_admin_erases(start_api: StartApi) -> None:
    api = await start_api(guard=build_guard())
    statuses = [
        (await api.request("POST", "/order/1/erase", headers=bearer(TOKENS[scope]))).status
        for scope in ("read", "write", "admin")
    ]
    assert statuses == [403, 403, 404]
