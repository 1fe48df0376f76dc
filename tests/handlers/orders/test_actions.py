"""`POST /order/{id}/cancel`, `POST /order/{id}/retry` and `POST /orders/retry`."""

import asyncio

import pytest
from tornado.ioloop import IOLoop

from models.errors import StorageBusyError
from models.order import Order, Status
from models.parsing.order_body import MAX_ID
from tests.cases import cases
from tests.handlers.conftest import StartApi
from tests.handlers.problem_check import assert_is_problem
from tests.handlers.processing import claim, end
from tests.handlers.running_api import RunningApi
from tests.models.samples import SECOND_US, order_text


async def accept(api: RunningApi, *order_ids: int) -> None:
    for order_id in order_ids:
        assert (await api.post(order_text(order_id=str(order_id)))).status == 202


async def end_as(api: RunningApi, status: Status, limit: int = 1_000) -> None:
    """Claims up to `limit` Pending orders, and ends their attempts with this status."""
    await end(api, await claim(api, limit), status, "no stock")


async def statuses(api: RunningApi, *order_ids: int) -> list[str]:
    return [(await api.get(f"/order/{order_id}")).json["status"] for order_id in order_ids]


@pytest.fixture
def failed_and_pending(api: RunningApi, io_loop: IOLoop) -> RunningApi:
    """An API with order 1, which is Failed, and order 2, which is Pending."""

    async def prepare() -> None:
        await accept(api, 1, 2)
        await end_as(api, Status.FAILED, 1)

    io_loop.run_sync(prepare)
    return api


@pytest.mark.gen_test
async def test_cancelling_a_pending_order_is_idempotent(api: RunningApi) -> None:
    await accept(api, 12345)
    for _ in range(2):
        answer = await api.request("POST", "/order/12345/cancel")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
        assert answer.json == (await api.get("/order/12345")).json
        assert (answer.json["status"], answer.json["processed_time"]) == ("Cancelled", None)
    assert await claim(api, 10) == []
    metrics = (await api.get("/metrics")).json
    assert (metrics["pending_orders"], metrics["cancelled_orders"], metrics["total_orders"]) == (0, 1, 1)
    assert metrics["oldest_pending_seconds"] == 0


@pytest.mark.gen_test
async def test_an_order_waiting_for_a_retry_can_be_cancelled(api: RunningApi) -> None:
    await accept(api, 1)
    [order] = await claim(api, 1)
    due_us = api.clock.now_us + SECOND_US
    await end(api, [order], Status.PENDING, "down", due_us)
    answer = await api.request("POST", "/order/1/cancel")
    assert (answer.status, answer.json["status"], answer.json["attempts"]) == (200, "Cancelled", 1)
    api.clock.now_us += 2 * SECOND_US
    assert await claim(api, 10) == []


@pytest.mark.gen_test
@pytest.mark.parametrize("status", [Status.PROCESSING, Status.COMPLETED, Status.FAILED])
async def test_cancelling_an_order_that_is_not_pending_is_a_409(api: RunningApi, status: Status) -> None:
    await accept(api, 7)
    if status is Status.PROCESSING:
        await claim(api, 1)
    else:
        await end_as(api, status)
    before = (await api.get("/order/7")).body
    problem = assert_is_problem(await api.request("POST", "/order/7/cancel"), 409, "wrong-status", "/order/7/cancel")
    assert (problem["order_status"], problem["detail"]) == (status, f"Order 7 is {status}, not Pending.")
    assert (await api.get("/order/7")).body == before


@pytest.mark.gen_test
async def test_retrying_a_failed_order_resets_its_attempts(api: RunningApi) -> None:
    await accept(api, 1)
    await end_as(api, Status.FAILED)
    assert (await api.get("/order/1")).json["error"] == "no stock"
    answer = await api.request("POST", "/order/1/retry")
    assert answer.status == 200
    assert answer.json == (await api.get("/order/1")).json
    expected = {"status": "Pending", "attempts": 0, "error": None, "processed_time": None, "processing_time": None}
    assert {name: answer.json[name] for name in expected} == expected
    [order] = await claim(api, 10)
    assert (order.order_id, order.attempts) == (1, 1)


@pytest.mark.gen_test
@pytest.mark.parametrize("status", [Status.PENDING, Status.PROCESSING, Status.COMPLETED, Status.CANCELLED])
async def test_retrying_an_order_that_is_not_failed_and_does_not_wait_is_a_409(api: RunningApi, status: Status) -> None:
    await accept(api, 7)
    if status is Status.PROCESSING:
        await claim(api, 1)
    elif status is Status.COMPLETED:
        await end_as(api, status)
    elif status is Status.CANCELLED:
        await api.request("POST", "/order/7/cancel")
    problem = assert_is_problem(await api.request("POST", "/order/7/retry"), 409, "wrong-status", "/order/7/retry")
    assert problem["order_status"] == status
    assert problem["detail"] == f"Order 7 is {status}, not Failed or waiting for a retry."
    assert await statuses(api, 7) == [status]


@pytest.mark.gen_test
async def test_only_one_of_several_concurrent_retries_succeeds(api: RunningApi) -> None:
    await accept(api, 1)
    await end_as(api, Status.FAILED)
    with api.blocked():
        asked = [asyncio.ensure_future(api.request("POST", "/order/1/retry")) for _ in range(3)]
        await api.until_in_flight(3)
    answers = sorted([await each for each in asked], key=lambda answer: answer.status)
    assert [answer.status for answer in answers] == [200, 409, 409]
    assert answers[1].json["order_status"] == "Pending"
    assert (await api.get("/metrics")).json["pending_orders"] == 1


@pytest.mark.gen_test
@cases("action", ["cancel", "retry"])
@cases("digits", ["1", "0", "01", str(MAX_ID), str(MAX_ID + 1), "9" * 5_000])
async def test_an_action_on_an_unknown_order_is_a_404(shared_api: RunningApi, action: str, digits: str) -> None:
    path = f"/order/{digits}/{action}"
    problem = assert_is_problem(await shared_api.request("POST", path), 404, "not-found", path)
    assert problem["detail"] == f"There is no order {digits}."


@pytest.mark.gen_test
@cases("path", ["/order/1/cancel", "/order/1/retry", "/orders/retry?status=Failed"])
@cases("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_actions_allow_only_post(shared_api: RunningApi, method: str, path: str) -> None:
    answer = await shared_api.request(method, path, b"" if method in ("PUT", "PATCH") else None)
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


@pytest.mark.gen_test
@pytest.mark.parametrize("body", [b"{}", b"not json", b"x" * 1_000])
async def test_the_body_of_an_action_is_ignored(api: RunningApi, body: bytes) -> None:
    await accept(api, 1)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await api.request("POST", "/order/1/cancel", body, headers)).status == 200


@pytest.mark.gen_test
async def test_an_order_that_waits_for_a_retry_can_be_retried_now(api: RunningApi) -> None:
    await accept(api, 1)
    await end(api, await claim(api, 1), Status.PENDING, "down", api.clock.now_us + 60 * SECOND_US)
    assert (await api.get("/order/1")).json["next_attempt_at"] is not None
    answer = await api.request("POST", "/order/1/retry")
    assert answer.status == 200
    assert answer.json == (await api.get("/order/1")).json
    expected = {"status": "Pending", "attempts": 1, "error": "down", "next_attempt_at": None}
    assert {name: answer.json[name] for name in expected} == expected
    assert_is_problem(await api.request("POST", "/order/1/retry"), 409, "wrong-status", "/order/1/retry")
    [order] = await claim(api, 10)
    assert (order.order_id, order.attempts) == (1, 2)


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/order/1/cancel", "/order/1/retry"])
async def test_a_locked_database_is_a_503(start_api: StartApi, path: str) -> None:
    async def act(order_id: int) -> Order | None:
        raise StorageBusyError("locked")

    api = await start_api(cancel=act, retry=act)
    assert_is_problem(await api.request("POST", path), 503, "storage-busy", path)


@pytest.mark.gen_test
@cases("site", ["cross-site", "same-site", "Same-Origin", "same-origin, cross-site", "\xe9"])
async def test_actions_of_other_sites_are_rejected(failed_and_pending: RunningApi, site: str) -> None:
    api = failed_and_pending
    for path in ("/order/1/retry", "/order/2/cancel", "/orders/retry?status=Failed"):
        answer = await api.request("POST", path, b"", {"Sec-Fetch-Site": site})
        assert_is_problem(answer, 403, "cross-origin", path.partition("?")[0])
        assert "WWW-Authenticate" not in answer.headers
    assert await statuses(api, 1, 2) == ["Failed", "Pending"]


@pytest.mark.gen_test
@cases(
    "origin",
    [
        "http://evil.test",
        "http://shop.test:8081",
        "https://shop.test",
        "null",
        "http://shop.test:8080.evil.test",
        "http://[",
    ],
)
async def test_without_sec_fetch_site_the_origin_must_equal_the_host(
    failed_and_pending: RunningApi, origin: str
) -> None:
    api = failed_and_pending
    for path in ("/order/1/retry", "/order/2/cancel", "/orders/retry?status=Failed"):
        answer = await api.request("POST", path, b"", {"Origin": origin, "Host": "shop.test:8080"})
        assert_is_problem(answer, 403, "cross-origin", path.partition("?")[0])
    assert await statuses(api, 1, 2) == ["Failed", "Pending"]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://shop.test", "Host": "127.0.0.1:8080"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://shop.test:8080", "Host": "shop.test:8080"},
        {"Origin": "http://evil.test", "Authorization": "Bearer key"},
    ],
)
async def test_same_origin_and_user_actions_are_allowed(api: RunningApi, headers: dict[str, str]) -> None:
    await accept(api, 1, 2)
    await end_as(api, Status.FAILED, 1)
    for path in ("/order/1/retry", "/order/2/cancel", "/orders/retry?status=Failed"):
        assert (path, (await api.request("POST", path, b"", headers)).status) == (path, 200)
    assert await statuses(api, 1, 2) == ["Pending", "Cancelled"]


@pytest.mark.gen_test
async def test_a_form_of_another_site_cannot_send_orders(api: RunningApi) -> None:
    # The content types that a page can send to another site without a preflight request.
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        for path in ("/order", "/orders"):
            headers = {"Content-Type": content_type, "Sec-Fetch-Site": "cross-site"}
            assert (await api.request("POST", path, order_text(), headers)).status == 415


@pytest.mark.gen_test
async def test_a_get_from_another_site_is_a_405(api: RunningApi) -> None:
    answer = await api.get("/order/1/cancel", {"Sec-Fetch-Site": "cross-site"})
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
