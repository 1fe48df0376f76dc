"""`POST /orders/retry`: retries many orders."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from models.errors import StorageBusyError
from models.order import Status
from models.writes.commands import OrderIds, RetriedOrders, RetrySelection
from tests.cases import cases
from tests.handlers.conftest import StartApi
from tests.handlers.orders.test_actions import accept, end_as, statuses
from tests.handlers.problem_check import assert_is_problem
from tests.handlers.processing import api_with_limits, claim, end
from tests.handlers.running_api import RunningApi
from tests.models.samples import SECOND_US

STATUS_NEEDED = {"status": "must be one of Failed, Pending"}
NO_TIME = "must be a time such as 2025-03-01T12:00:00Z (a + before an offset is written %2B)"


@pytest.mark.gen_test
@pytest.mark.parametrize("at_once", [1, 2, 3, 1_000])
async def test_retrying_failed_orders_changes_no_others(tmp_path: Path, at_once: int) -> None:
    async with api_with_limits(tmp_path, max_retried_at_once=at_once) as api:
        await accept(api, 1, 2, 3, 4)
        await end_as(api, Status.FAILED, 3)
        await end_as(api, Status.COMPLETED)
        await accept(api, 5, 6)
        answer = await api.request("POST", "/orders/retry?status=Failed")
        assert (answer.status, answer.json) == (200, {"retried": 3})
        assert await statuses(api, 1, 2, 3, 4, 5, 6) == ["Pending"] * 3 + ["Completed"] + ["Pending"] * 2
        assert (await api.request("POST", "/orders/retry?status=Failed")).json == {"retried": 0}
        assert [order.order_id for order in await claim(api, 10)] == [1, 2, 3, 5, 6]


@pytest.mark.gen_test
@pytest.mark.parametrize("at_once", [1, 2, 1_000])
async def test_all_orders_that_wait_for_a_retry_can_be_retried_now(tmp_path: Path, at_once: int) -> None:
    async with api_with_limits(tmp_path, max_retried_at_once=at_once) as api:
        await accept(api, 1, 2, 3, 4)
        waiting = await claim(api, 3)
        await end(api, waiting, Status.PENDING, "down", api.clock.now_us + 60 * SECOND_US)
        await end_as(api, Status.FAILED)
        await accept(api, 5)
        assert (await api.request("POST", "/orders/retry?status=Pending")).json == {"retried": 3}
        assert (await api.request("POST", "/orders/retry?status=Pending")).json == {"retried": 0}
        assert await statuses(api, 1, 2, 3, 4, 5) == ["Pending"] * 3 + ["Failed", "Pending"]
        assert [(order.order_id, order.attempts) for order in await claim(api, 10)] == [(1, 2), (2, 2), (3, 2), (5, 1)]


@pytest.mark.gen_test
@pytest.mark.parametrize("status", [Status.FAILED, Status.PENDING])
@pytest.mark.parametrize(
    ("query", "order_ids"),
    [
        ("", [1, 2, 3, 4]),
        ("&error=answered+503", [1, 3]),
        ("&error=503%3a%20%c3%a9", [3]),
        ("&error=ANSWERED", []),
        ("&created_after=2025-03-01T12:00:02Z", [2, 3, 4]),
        ("&created_after=2025-03-01T12:00:02Z&created_before=2025-03-01+12:00:04&error=503", [3]),
    ],
)
async def test_only_selected_orders_are_retried(
    tmp_path: Path, status: Status, query: str, order_ids: list[int]
) -> None:
    async with api_with_limits(tmp_path, max_retried_at_once=2) as api:
        errors = ["the receiver answered 503", "no answer", "the receiver answered 503: é", "the receiver answered 500"]
        due_us = api.clock.now_us + 60 * SECOND_US if status is Status.PENDING else None
        for order_id, error in enumerate(errors, start=1):
            api.clock.now_us += SECOND_US
            await accept(api, order_id)
            await end(api, await claim(api), status, error, due_us)
        answer = await api.request("POST", f"/orders/retry?status={status}{query}")
        assert answer.json == {"retried": len(order_ids)}
        assert [order.order_id for order in await claim(api)] == order_ids


@pytest.mark.gen_test
async def test_orders_that_fail_during_the_request_are_not_retried_again(tmp_path: Path, start_api: StartApi) -> None:
    async with api_with_limits(tmp_path, max_retried_at_once=1) as api:
        await accept(api, 1, 2, 3)
        await end_as(api, Status.FAILED)

        async def retry_selected(selection: RetrySelection) -> RetriedOrders:
            retried = await api.orders.retry_selected(selection)
            for each in retried.orders:
                await accept(api, 100 + each.order_id)
            await end_as(api, Status.FAILED)
            return retried

        retrying = await start_api(retry_selected=retry_selected)
        assert (await retrying.request("POST", "/orders/retry?status=Failed")).json == {"retried": 3}
        assert await statuses(api, 1, 2, 3, 101, 102, 103) == ["Failed"] * 6


@pytest.mark.gen_test
@cases(
    ("query", "errors"),
    [
        ("", STATUS_NEEDED),
        ("?status=", {"status": "must not be empty"}),
        ("?status=failed", STATUS_NEEDED),
        ("?status=Completed", STATUS_NEEDED),
        ("?status=Failed&status=Failed", {"status": "must not be given more than once"}),
        ("?status=Failed&user_id=1", {"user_id": "is not known here"}),
        ("?state=Failed", {"state": "is not known here"} | STATUS_NEEDED),
        ("?status=Failed&error=", {"error": "must not be empty"}),
        ("?status=Pending&created_after=now&created_before=1", {"created_after": NO_TIME, "created_before": NO_TIME}),
    ],
)
async def test_an_invalid_selection_is_a_422(api: RunningApi, query: str, errors: dict[str, str]) -> None:
    await accept(api, 1)
    await end_as(api, Status.FAILED)
    answer = await api.request("POST", f"/orders/retry{query}")
    problem = assert_is_problem(answer, 422, "invalid-parameter", "/orders/retry")
    assert problem["errors"] == [{"parameter": name, "detail": detail} for name, detail in errors.items()]
    assert await statuses(api, 1) == ["Failed"]


@pytest.mark.gen_test
@pytest.mark.parametrize(("done", "members"), [(0, {}), (2, {"retried": 2})])
async def test_an_error_between_transactions_reports_the_retried_orders(
    start_api: StartApi, done: int, members: dict[str, Any]
) -> None:
    first = RetrySelection(status=Status.FAILED)
    selections = [replace(first, after=sequence) if sequence else first for sequence in range(done + 1)]

    async def retry_selected(selection: RetrySelection) -> RetriedOrders:
        assert selection == selections.pop(0)
        if not selections:
            raise StorageBusyError("locked")
        return RetriedOrders([OrderIds(7, 7, 1)], selections[0])

    api = await start_api(retry_selected=retry_selected)
    answer = await api.request("POST", "/orders/retry?status=Failed")
    problem = assert_is_problem(answer, 503, "storage-busy", "/orders/retry")
    assert answer.headers["Retry-After"] == "1"
    assert {name: problem[name] for name in problem if name == "retried"} == members
    assert ("Nothing was changed" in problem["detail"]) == (not done)
