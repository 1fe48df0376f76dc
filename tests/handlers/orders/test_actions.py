"""`POST /order/{id}/cancel`, `POST /order/{id}/retry` and `POST /orders/retry?status=Failed`."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from models.errors import StorageBusyError
from models.order import Order, Status
from models.parsing.order_body import MAX_ID
from models.writes import OrderIds, Outcome, RetriedOrders
from tests.handlers.conftest import Serve
from tests.handlers.problems.test_problem import assert_is_problem
from tests.handlers.processing import limited
from tests.handlers.service import Service
from tests.models.samples import SECOND_US, order_text


async def accept(service: Service, *order_ids: int) -> None:
    for order_id in order_ids:
        assert (await service.post(order_text(order_id=str(order_id)))).status == 202


async def end_as(service: Service, status: Status, limit: int = 1_000) -> None:
    """ClaimedOrders what is Pending, and ends it."""
    claimed = await service.finish_and_claim([], limit)
    await service.finish_and_claim([Outcome(order.sequence, order.claims, status, "no stock") for order in claimed], 0)


async def statuses(service: Service, *order_ids: int) -> list[str]:
    return [(await service.get(f"/order/{order_id}")).json["status"] for order_id in order_ids]


@pytest.mark.gen_test
async def test_a_pending_order_is_cancelled_and_is_so_when_asked_again(service: Service) -> None:
    await accept(service, 12345)
    for _ in range(2):
        answer = await service.request("POST", "/order/12345/cancel")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
        assert answer.json == (await service.get("/order/12345")).json
        assert (answer.json["status"], answer.json["processed_time"]) == ("Cancelled", None)
    assert await service.finish_and_claim([], 10) == []
    metrics = (await service.get("/metrics")).json
    assert (metrics["pending_orders"], metrics["cancelled_orders"], metrics["total_orders"]) == (0, 1, 1)
    assert metrics["oldest_pending_seconds"] == 0


@pytest.mark.gen_test
async def test_an_order_that_waits_for_a_retry_can_be_cancelled(service: Service) -> None:
    await accept(service, 1)
    [order] = await service.finish_and_claim([], 1)
    due_us = service.clock.now_us + SECOND_US
    await service.finish_and_claim([Outcome(order.sequence, order.claims, Status.PENDING, "down", due_us)], 0)
    answer = await service.request("POST", "/order/1/cancel")
    assert (answer.status, answer.json["status"], answer.json["attempts"]) == (200, "Cancelled", 1)
    service.clock.now_us += 2 * SECOND_US
    assert await service.finish_and_claim([], 10) == []


@pytest.mark.gen_test
@pytest.mark.parametrize("status", [Status.PROCESSING, Status.COMPLETED, Status.FAILED])
async def test_an_order_that_is_not_pending_any_more_is_not_cancelled(service: Service, status: Status) -> None:
    await accept(service, 7)
    if status is Status.PROCESSING:
        await service.finish_and_claim([], 1)
    else:
        await end_as(service, status)
    before = (await service.get("/order/7")).body
    problem = assert_is_problem(
        await service.request("POST", "/order/7/cancel"), 409, "wrong-status", "/order/7/cancel"
    )
    assert (problem["order_status"], problem["detail"]) == (status, f"Order 7 is {status}, not Pending.")
    assert (await service.get("/order/7")).body == before


@pytest.mark.gen_test
async def test_a_failed_order_is_tried_again_from_the_beginning(service: Service) -> None:
    await accept(service, 1)
    await end_as(service, Status.FAILED)
    assert (await service.get("/order/1")).json["error"] == "no stock"
    answer = await service.request("POST", "/order/1/retry")
    assert answer.status == 200
    assert answer.json == (await service.get("/order/1")).json
    expected = {"status": "Pending", "attempts": 0, "error": None, "processed_time": None, "processing_time": None}
    assert {name: answer.json[name] for name in expected} == expected
    [order] = await service.finish_and_claim([], 10)
    assert (order.order_id, order.attempts) == (1, 1)


@pytest.mark.gen_test
@pytest.mark.parametrize("status", [Status.PENDING, Status.PROCESSING, Status.COMPLETED, Status.CANCELLED])
async def test_an_order_that_is_not_failed_is_not_tried_again(service: Service, status: Status) -> None:
    await accept(service, 7)
    if status is Status.PROCESSING:
        await service.finish_and_claim([], 1)
    elif status is Status.COMPLETED:
        await end_as(service, status)
    elif status is Status.CANCELLED:
        await service.request("POST", "/order/7/cancel")
    problem = assert_is_problem(await service.request("POST", "/order/7/retry"), 409, "wrong-status", "/order/7/retry")
    assert (problem["order_status"], problem["detail"]) == (status, f"Order 7 is {status}, not Failed.")
    assert await statuses(service, 7) == [status]


@pytest.mark.gen_test
async def test_of_two_who_ask_for_a_retry_at_once_one_gets_it(service: Service) -> None:
    await accept(service, 1)
    await end_as(service, Status.FAILED)
    with service.held():
        asked = [asyncio.ensure_future(service.request("POST", "/order/1/retry")) for _ in range(3)]
        await service.until_in_flight(3)
    answers = sorted([await each for each in asked], key=lambda answer: answer.status)
    assert [answer.status for answer in answers] == [200, 409, 409]
    assert answers[1].json["order_status"] == "Pending"
    assert (await service.get("/metrics")).json["pending_orders"] == 1


@pytest.mark.gen_test
@pytest.mark.parametrize("action", ["cancel", "retry"])
@pytest.mark.parametrize("digits", ["1", "0", "01", str(MAX_ID), str(MAX_ID + 1), "9" * 5_000])
async def test_what_is_no_order_can_not_be_acted_on(service: Service, action: str, digits: str) -> None:
    path = f"/order/{digits}/{action}"
    problem = assert_is_problem(await service.request("POST", path), 404, "not-found", path)
    assert problem["detail"] == f"There is no order {digits}."


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/order/1/cancel", "/order/1/retry", "/orders/retry?status=Failed"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_nothing_is_done_but_by_post(service: Service, method: str, path: str) -> None:
    answer = await service.request(method, path, b"" if method in ("PUT", "PATCH") else None)
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")


@pytest.mark.gen_test
@pytest.mark.parametrize("body", [b"{}", b"not json", b"x" * 1_000])
async def test_a_body_is_of_no_interest(service: Service, body: bytes) -> None:
    await accept(service, 1)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await service.request("POST", "/order/1/cancel", body, headers)).status == 200


@pytest.mark.gen_test
@pytest.mark.parametrize("at_once", [1, 2, 3, 1_000])
async def test_all_failed_orders_are_tried_again_and_no_others(tmp_path: Path, at_once: int) -> None:
    async with limited(tmp_path, max_retried_at_once=at_once) as service:
        await accept(service, 1, 2, 3, 4)
        await end_as(service, Status.FAILED, 3)
        await end_as(service, Status.COMPLETED)
        await accept(service, 5, 6)
        answer = await service.request("POST", "/orders/retry?status=Failed")
        assert (answer.status, answer.json) == (200, {"retried": 3})
        assert await statuses(service, 1, 2, 3, 4, 5, 6) == ["Pending"] * 3 + ["Completed"] + ["Pending"] * 2
        assert (await service.request("POST", "/orders/retry?status=Failed")).json == {"retried": 0}
        assert [order.order_id for order in await service.finish_and_claim([], 10)] == [1, 2, 3, 5, 6]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("", {"status": "must be Failed"}),
        ("?status=", {"status": "must be Failed"}),
        ("?status=failed", {"status": "must be Failed"}),
        ("?status=Pending", {"status": "must be Failed"}),
        ("?status=Failed&status=Failed", {"status": "must be Failed"}),
        ("?status=Failed&user_id=1", {"user_id": "is not known here"}),
        ("?state=Failed", {"state": "is not known here", "status": "must be Failed"}),
    ],
)
async def test_a_query_that_asks_for_something_else_is_a_422(
    service: Service, query: str, errors: dict[str, str]
) -> None:
    await accept(service, 1)
    await end_as(service, Status.FAILED)
    answer = await service.request("POST", f"/orders/retry{query}")
    problem = assert_is_problem(answer, 422, "invalid-parameter", "/orders/retry")
    assert problem["errors"] == [{"parameter": name, "detail": detail} for name, detail in errors.items()]
    assert await statuses(service, 1) == ["Failed"]


@pytest.mark.gen_test
@pytest.mark.parametrize(("done", "members"), [(0, {}), (2, {"retried": 2})])
async def test_an_error_half_way_says_how_far_it_came(serve: Serve, done: int, members: dict[str, Any]) -> None:
    parts = [RetriedOrders([OrderIds(sequence, sequence, 1)], sequence) for sequence in range(1, done + 1)]

    async def retry_failed(after: int) -> RetriedOrders:
        assert after == done - len(parts)
        if not parts:
            raise StorageBusyError("locked")
        return parts.pop(0)

    service = await serve(retry_failed=retry_failed)
    answer = await service.request("POST", "/orders/retry?status=Failed")
    problem = assert_is_problem(answer, 503, "storage-busy", "/orders/retry")
    assert answer.headers["Retry-After"] == "1"
    assert {name: problem[name] for name in problem if name == "retried"} == members
    assert ("Nothing was changed" in problem["detail"]) == (not done)


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/order/1/cancel", "/order/1/retry"])
async def test_a_database_that_is_locked_is_a_503(serve: Serve, path: str) -> None:
    async def act(order_id: int) -> Order | None:
        raise StorageBusyError("locked")

    service = await serve(cancel=act, retry=act)
    assert_is_problem(await service.request("POST", path), 503, "storage-busy", path)


@pytest.mark.gen_test
@pytest.mark.parametrize("site", ["cross-site", "same-site", "Same-Origin", "same-origin, cross-site", "\xe9"])
async def test_a_page_of_another_site_may_not_act(service: Service, site: str) -> None:
    await accept(service, 1, 2)
    await end_as(service, Status.FAILED, 1)
    for path in ("/order/1/retry", "/order/2/cancel", "/orders/retry?status=Failed"):
        answer = await service.request("POST", path, b"", {"Sec-Fetch-Site": site})
        assert_is_problem(answer, 403, "cross-origin", path.partition("?")[0])
        assert "WWW-Authenticate" not in answer.headers
    assert await statuses(service, 1, 2) == ["Failed", "Pending"]


@pytest.mark.gen_test
@pytest.mark.parametrize(
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
async def test_over_plain_http_the_origin_must_be_the_host(service: Service, origin: str) -> None:
    await accept(service, 1, 2)
    await end_as(service, Status.FAILED, 1)
    for path in ("/order/1/retry", "/order/2/cancel", "/orders/retry?status=Failed"):
        answer = await service.request("POST", path, b"", {"Origin": origin, "Host": "shop.test:8080"})
        assert_is_problem(answer, 403, "cross-origin", path.partition("?")[0])
    assert await statuses(service, 1, 2) == ["Failed", "Pending"]


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
async def test_a_page_of_this_server_and_a_person_may_act(service: Service, headers: dict[str, str]) -> None:
    await accept(service, 1, 2)
    await end_as(service, Status.FAILED, 1)
    for path in ("/order/1/retry", "/order/2/cancel", "/orders/retry?status=Failed"):
        assert (path, (await service.request("POST", path, b"", headers)).status) == (path, 200)
    assert await statuses(service, 1, 2) == ["Pending", "Cancelled"]


@pytest.mark.gen_test
async def test_a_form_of_another_site_can_not_send_orders(service: Service) -> None:
    # Those are the types that a page may send without asking first.
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        for path in ("/order", "/orders"):
            headers = {"Content-Type": content_type, "Sec-Fetch-Site": "cross-site"}
            assert (await service.request("POST", path, order_text(), headers)).status == 415


@pytest.mark.gen_test
async def test_a_link_from_another_site_is_answered_as_ever(service: Service) -> None:
    answer = await service.get("/order/1/cancel", {"Sec-Fetch-Site": "cross-site"})
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
