"""`GET /order/{id}/attempts`."""

from typing import Any

import pytest

from models.errors import StorageUnavailableError
from models.order import AttemptRecord, Ending, Status
from models.parsing.order_body import MAX_ID
from models.writes.attempts import FinishAndClaim, Outcome
from tests.cases import cases
from tests.handlers.conftest import StartApi
from tests.handlers.problem_check import assert_is_problem
from tests.handlers.processing import claim, end
from tests.handlers.running_api import RunningApi
from tests.models.samples import SECOND_US, order_text


def attempt(number: int, started_s: int, ended_s: int | None, outcome: str | None, error: str | None) -> dict[str, Any]:
    return {
        "number": number,
        "started_at": f"2025-03-01T12:00:0{started_s}.000000Z",
        "ended_at": None if ended_s is None else f"2025-03-01T12:00:0{ended_s}.000000Z",
        "outcome": outcome,
        "error": error,
    }


@pytest.mark.gen_test
async def test_the_attempts_are_listed_oldest_first(api: RunningApi) -> None:
    await api.post(order_text())

    async def attempts() -> Any:
        answer = await api.get("/order/12345/attempts")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
        assert answer.json.keys() == {"order_id", "attempts"}
        assert answer.json["order_id"] == 12345
        return answer.json["attempts"]

    assert await attempts() == []
    api.clock.now_us += SECOND_US
    [order] = await claim(api)
    assert await attempts() == [attempt(1, 1, None, None, None)]
    api.clock.now_us += SECOND_US
    failed = Outcome(order.sequence, 1, Status.PENDING, "the receiver answered 503", api.clock.now_us, Ending.FAILED)
    await api.orders.finish_and_claim(FinishAndClaim([failed], 0, [order]))
    first = attempt(1, 1, 2, "failed", "the receiver answered 503")
    assert await attempts() == [first]
    again = await claim(api)
    api.clock.now_us += SECOND_US
    await end(api, again)
    assert await attempts() == [first, attempt(2, 2, 3, "completed", None)]


@pytest.mark.gen_test
async def test_a_start_that_is_not_known_is_null(start_api: StartApi) -> None:
    async def history(order_id: int) -> list[AttemptRecord]:
        return [AttemptRecord(3, None, 0, Ending.INTERRUPTED, "the process ended during the attempt")]

    api = await start_api(history=history)
    assert (await api.get("/order/7/attempts")).json == {
        "order_id": 7,
        "attempts": [
            {
                "number": 3,
                "started_at": None,
                "ended_at": "1970-01-01T00:00:00.000000Z",
                "outcome": "interrupted",
                "error": "the process ended during the attempt",
            }
        ],
    }


@pytest.mark.gen_test
@cases("digits", ["1", "0", "01", str(MAX_ID), str(MAX_ID + 1), "9" * 5_000])
async def test_the_attempts_of_an_unknown_order_are_a_404(api: RunningApi, digits: str) -> None:
    path = f"/order/{digits}/attempts"
    assert assert_is_problem(await api.get(path), 404, "not-found", path)["detail"] == f"There is no order {digits}."


@pytest.mark.gen_test
@cases("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_attempts_allow_only_get_and_head(api: RunningApi, method: str) -> None:
    answer = await api.request(method, "/order/1/attempts", b"" if method in ("POST", "PUT", "PATCH") else None)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.gen_test
async def test_attempts_that_cannot_be_read_are_a_503(start_api: StartApi) -> None:
    async def history(order_id: int) -> list[AttemptRecord]:
        raise StorageUnavailableError("disk I/O error")

    api = await start_api(history=history)
    assert_is_problem(await api.get("/order/1/attempts"), 503, "storage-unavailable", "/order/1/attempts")
