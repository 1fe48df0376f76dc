"""`GET /order/{id}?wait=N` and `POST /order` with `Prefer: wait=N`: waiting until an order has ended."""

import asyncio
from pathlib import Path

import pytest

from models.order import Order, Status
from tests.cases import cases
from tests.handlers.conftest import StartApi
from tests.handlers.processing import api_with_limits, claim, end, process
from tests.handlers.running_api import JSON, Answer, RunningApi, get_text, post_text, turn_of_the_loop, until
from tests.models.samples import order_text

WAITING = "/order/12345?wait=30"
PREFER = JSON | {"Prefer": "wait=30"}


async def until_waiting(api: RunningApi, count: int) -> None:
    """Returns when `count` requests wait, and each has looked up its order once."""
    await api.until_in_flight(count)
    await until(lambda: api.orders.waiting > 0)
    # This look-up ends after the look-ups of the requests, because it begins later.
    await api.orders.find(1)
    await turn_of_the_loop()


def recording_waits(waited: list[float]) -> dict[str, object]:
    """Methods for `overrides` that record the wait in seconds, and find no order."""

    async def find_when_ended(order_id: int, timeout_s: float) -> Order | None:
        waited.append(timeout_s)
        return None

    def find(order_id: int) -> "asyncio.Future[None]":
        waited.append(0)
        found: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        found.set_result(None)
        return found

    return {"find": find, "find_when_ended": find_when_ended}


@pytest.mark.gen_test
@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
async def test_an_order_that_has_ended_is_returned_immediately(api: RunningApi, status: Status) -> None:
    await api.post(order_text())
    await (api.request("POST", "/order/12345/cancel") if status is Status.CANCELLED else process(api, status))
    answer = await api.get(WAITING)
    assert (answer.status, answer.json["status"]) == (200, status)
    assert answer.body == (await api.get("/order/12345")).body


@pytest.mark.gen_test
@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED])
async def test_a_wait_ends_when_the_order_ends(api: RunningApi, status: Status) -> None:
    await api.post(order_text())
    waiting = asyncio.ensure_future(api.get(WAITING))
    await until_waiting(api, 1)
    orders = await claim(api)
    assert not waiting.done()
    await end(api, orders, status, "no" if status is Status.FAILED else None)
    answer = await waiting
    assert (answer.status, answer.json["status"], answer.json["attempts"]) == (200, status, 1)
    assert answer.body == (await api.get("/order/12345")).body


@pytest.mark.gen_test
async def test_a_wait_ends_when_the_order_is_cancelled(api: RunningApi) -> None:
    await api.post(order_text())
    waiting = asyncio.ensure_future(api.get(WAITING))
    await until_waiting(api, 1)
    await api.request("POST", "/order/12345/cancel")
    assert (await waiting).json["status"] == "Cancelled"


@pytest.mark.gen_test
async def test_a_wait_continues_while_the_order_is_retried(api: RunningApi) -> None:
    await api.post(order_text())
    waiting = asyncio.ensure_future(api.get(WAITING))
    await until_waiting(api, 1)
    await end(api, await claim(api), Status.PENDING, "later", due_us=0)
    await end(api, await claim(api), Status.PENDING)
    await api.get("/livez")
    assert not waiting.done()
    await process(api)
    answer = await waiting
    assert (answer.json["status"], answer.json["attempts"]) == ("Completed", 2)


@pytest.mark.slow
@pytest.mark.gen_test
async def test_after_its_timeout_a_wait_returns_the_current_order(api: RunningApi) -> None:
    await api.post(order_text())
    begun_s = asyncio.get_running_loop().time()
    waiting = asyncio.ensure_future(api.get("/order/12345?wait=1"))
    await until_waiting(api, 1)
    await claim(api)
    answer = await waiting
    assert asyncio.get_running_loop().time() - begun_s >= 1
    assert (answer.status, answer.json["status"], answer.json["attempts"]) == (200, "Processing", 1)
    posted = await api.post(order_text(order_id="2"), JSON | {"Prefer": "wait=1"})
    assert (posted.status, posted.json["order_id"]) == (202, "2")
    assert "Preference-Applied" not in posted.headers


@pytest.mark.gen_test
@pytest.mark.parametrize(("query", "wait_s"), [("wait=0", 0), ("wait=1", 1), ("wait=30", 30), ("fresh=1&wait=2", 2)])
async def test_a_wait_may_be_0_to_30_seconds(start_api: StartApi, query: str, wait_s: int) -> None:
    waited: list[float] = []
    api = await start_api(**recording_waits(waited))
    await api.get(f"/order/12345?{query}")
    assert waited == [wait_s]


@pytest.mark.gen_test
@cases(
    "query", ["wait=31", "wait=-1", "wait=", "wait", "wait=x", "wait=1.5", "wait=05", "wait=1&wait=1", "wait=%31%20"]
)
async def test_an_invalid_wait_is_a_422(api: RunningApi, query: str) -> None:
    await api.post(order_text())
    for order_id in ("12345", "99"):
        answer = await api.get(f"/order/{order_id}?{query}")
        assert (answer.status, answer.json["type"]) == (422, "/problems/invalid-parameter")
        assert [error["parameter"] for error in answer.json["errors"]] == ["wait"]


@pytest.mark.gen_test
async def test_without_wait_the_order_is_returned_immediately(api: RunningApi) -> None:
    await api.post(order_text())
    for path in ("/order/12345", "/order/12345?", "/order/12345?wait=0", "/order/12345?Wait=30"):
        assert (await api.get(path)).json["status"] == "Pending"


@pytest.mark.gen_test
@cases("order_id", ["99", "0", "9" * 30])
async def test_a_wait_for_an_unknown_order_is_a_404_immediately(shared_api: RunningApi, order_id: str) -> None:
    answer = await shared_api.get(f"/order/{order_id}?wait=30")
    assert (answer.status, answer.json["detail"]) == (404, f"There is no order {order_id}.")
    assert not shared_api.orders.waiting


@pytest.mark.gen_test
async def test_head_waits_like_get(api: RunningApi) -> None:
    await api.post(order_text())
    async with api.connection() as connection:
        await connection.send(get_text(WAITING, method="HEAD"))
        await until_waiting(api, 1)
        await process(api)
        answer = await connection.answer(has_body=False)
        expected = await api.get("/order/12345")
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(expected.body)))
        await connection.send(get_text("/livez"))
        assert (await connection.answer()).json == {"status": "ok"}


@pytest.mark.gen_test
async def test_all_waits_for_one_order_end_together(start_api: StartApi) -> None:
    api = await start_api()
    await api.post(order_text())
    await api.post(order_text(order_id="2"))
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(one_answer(api, get_text(WAITING))) for _ in range(50)]
        other = group.create_task(one_answer(api, get_text("/order/2?wait=30")))
        await until_waiting(api, 51)
        first, second = await claim(api)
        await end(api, [first])
        assert {(await each).json["status"] for each in waiting} == {"Completed"}
        assert not other.done()
        await end(api, [second], Status.FAILED)
    assert other.result().json["status"] == "Failed"
    assert not api.orders.waiting


async def one_answer(api: RunningApi, request: bytes) -> Answer:
    async with api.connection() as connection:
        await connection.send(request)
        return await connection.answer()


@pytest.mark.gen_test
@pytest.mark.parametrize("request_text", [get_text(WAITING), post_text(order_text(), headers="Prefer: wait=30\r\n")])
async def test_a_disconnect_releases_the_wait(api: RunningApi, request_text: bytes) -> None:
    await api.post(order_text())
    async with api.connection() as connection:
        await connection.send(request_text)
        await until_waiting(api, 1)
    await api.until_in_flight(0)
    assert not api.orders.waiting
    # The order is still processed.
    await process(api)
    assert (await api.get(WAITING)).json["status"] == "Completed"


@pytest.mark.gen_test
@pytest.mark.parametrize("request_text", [get_text(WAITING), post_text(order_text(), headers="Prefer: wait=30\r\n")])
async def test_a_disconnect_before_the_request_is_read_starts_no_wait(api: RunningApi, request_text: bytes) -> None:
    await api.post(order_text())
    for _ in range(20):
        async with api.connection() as connection:
            await connection.send(request_text)
    await api.get("/livez")
    await api.until_in_flight(0)
    assert not api.orders.waiting


@pytest.mark.gen_test
async def test_the_connection_can_be_used_after_a_wait(api: RunningApi) -> None:
    async with api.connection() as connection:
        for order_id in ("1", "2"):
            await connection.send(post_text(order_text(order_id=order_id)) + get_text(f"/order/{order_id}?wait=30"))
            assert (await connection.answer()).status == 202
            await until_waiting(api, 1)
            await process(api)
            assert (await connection.answer()).json["status"] == "Completed"


@pytest.mark.gen_test
async def test_a_wait_over_the_limit_is_rejected(tmp_path: Path) -> None:
    async with api_with_limits(tmp_path, max_waiters=2) as api:
        await api.post(order_text())
        waiting = [asyncio.ensure_future(api.get(WAITING)) for _ in range(2)]
        await until_waiting(api, 2)
        refused = await api.get(WAITING)
        assert (refused.status, refused.json["type"]) == (503, "/problems/overloaded")
        assert refused.headers["Retry-After"] == "1"
        # New orders are still accepted, and a GET without a wait is not rejected.
        posted = await api.post(order_text(order_id="2"), PREFER)
        assert (posted.status, "Preference-Applied" in posted.headers) == (202, False)
        assert (await api.get("/order/2")).json["status"] == "Pending"
        await process(api)
        assert [answer.json["status"] for answer in await asyncio.gather(*waiting)] == ["Completed"] * 2
        assert (await api.get(WAITING)).status == 200


@pytest.mark.gen_test
async def test_a_stop_ends_all_waits_immediately(api: RunningApi) -> None:
    await api.post(order_text())
    waiting = [asyncio.ensure_future(api.get(WAITING)) for _ in range(3)]
    posting = asyncio.ensure_future(api.post(order_text(order_id="2"), PREFER))
    await until_waiting(api, 4)
    await api.orders.stop(0)
    answers = await asyncio.gather(*waiting)
    assert [(answer.status, answer.json["status"]) for answer in answers] == [(200, "Pending")] * 3
    posted = await posting
    assert (posted.status, posted.json["order_id"]) == (202, "2")
    assert (await api.get(WAITING)).json["status"] == "Pending"


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("prefer", "applied"), [("wait=30", "wait=30"), ("wait=60", "wait=30"), ("respond-async, Wait=7", "wait=7")]
)
async def test_prefer_wait_returns_the_order_if_it_ends_in_time(api: RunningApi, prefer: str, applied: str) -> None:
    posting = asyncio.ensure_future(api.post(order_text(), JSON | {"Prefer": prefer}))
    await until_waiting(api, 1)
    await process(api, Status.FAILED, "no such card")
    answer = await posting
    assert (answer.status, answer.headers["Preference-Applied"]) == (200, applied)
    assert answer.headers["Location"] == "/order/12345"
    assert "Idempotent-Replayed" not in answer.headers
    assert (answer.json["status"], answer.json["error"]) == ("Failed", "no such card")
    assert answer.body == (await api.get("/order/12345")).body


@pytest.mark.gen_test
@pytest.mark.parametrize("prefer", ["wait=0", "wait=x", "respond-async", "wait", ""])
async def test_without_a_valid_wait_the_response_is_the_202(api: RunningApi, prefer: str) -> None:
    answer = await api.post(order_text(), JSON | {"Prefer": prefer})
    assert (answer.status, "Preference-Applied" in answer.headers) == (202, False)
    assert answer.body == (await api.post(order_text())).body


@pytest.mark.gen_test
async def test_prefer_wait_works_for_a_replayed_order(api: RunningApi) -> None:
    await api.post(order_text())
    posting = asyncio.ensure_future(api.post(order_text(), PREFER))
    await until_waiting(api, 1)
    await process(api)
    for answer in (await posting, await api.post(order_text(), PREFER)):
        assert (answer.status, answer.json["status"]) == (200, "Completed")
        assert answer.headers["Idempotent-Replayed"] == "true"
        assert answer.headers["Preference-Applied"] == "wait=30"


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("body", "status"), [(order_text(user_id="2"), 409), (order_text(user_id="0"), 422), (b"{", 400)]
)
async def test_a_rejected_order_gets_its_response_immediately(api: RunningApi, body: bytes, status: int) -> None:
    await api.post(order_text())
    answer = await api.post(body, PREFER)
    assert (answer.status, "Preference-Applied" in answer.headers) == (status, False)
    assert not api.orders.waiting


@pytest.mark.gen_test
async def test_a_full_backlog_rejects_the_order_immediately(tmp_path: Path) -> None:
    async with api_with_limits(tmp_path, max_backlog=0) as api:
        assert (await api.post(order_text(), PREFER)).status == 503
        assert not api.orders.waiting
