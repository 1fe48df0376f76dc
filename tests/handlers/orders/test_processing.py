"""`POST /processing/pause` and `POST /processing/resume`, and where the state is shown."""

import logging

import pytest

from models.errors import StorageUnavailableError
from tests.handlers.conftest import StartApi
from tests.handlers.event_stream import open_stream
from tests.handlers.problem_check import assert_is_problem
from tests.handlers.processing import claim, process
from tests.handlers.running_api import RunningApi, get_text
from tests.handlers.security.sample_keys import TOKENS, bearer, build_guard
from tests.models.samples import order_text

PAUSE, RESUME = "/processing/pause", "/processing/resume"


async def shown(api: RunningApi) -> list[object]:
    """Whether processing is paused, according to `/metrics`, the gauge, `/readyz` and the events of the dashboard."""
    text = (await api.get("/metrics/prometheus")).body.decode()
    [gauge] = [line.split()[1] for line in text.splitlines() if line.startswith("orders_processing_paused ")]
    ready = await api.get("/readyz")
    assert (ready.status, ready.json["status"]) == (200, "ok")
    api.metric_events.publish(await api.orders.totals(), await api.orders.storage_status())
    async with open_stream(api.port, get_text("/metrics/events")) as stream:
        _, metrics = await stream.take(2)
    return [(await api.get("/metrics")).json["paused"], gauge, ready.json["paused"], metrics.json["paused"]]


@pytest.mark.gen_test
async def test_a_pause_is_idempotent_and_shown_until_processing_is_resumed(api: RunningApi) -> None:
    for path, is_paused in ((RESUME, False), (PAUSE, True), (PAUSE, True), (RESUME, False), (RESUME, False)):
        answer = await api.request("POST", path)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
        assert answer.json == {"paused": is_paused}
        gauge = "1.0" if is_paused else "0.0"
        assert await shown(api) == [is_paused, gauge, is_paused, is_paused]


@pytest.mark.gen_test
async def test_orders_are_accepted_but_not_processed_during_a_pause(api: RunningApi) -> None:
    await api.request("POST", PAUSE)
    assert (await api.post(order_text())).status == 202
    assert await claim(api, 10) == []
    metrics = (await api.get("/metrics")).json
    assert (metrics["pending_orders"], metrics["paused"]) == (1, True)
    assert (await api.request("POST", "/order/12345/cancel")).status == 200
    await api.request("POST", RESUME)
    await api.post(order_text(order_id="2"))
    await process(api)
    assert (await api.get("/order/2")).json["status"] == "Completed"


@pytest.mark.gen_test
async def test_pause_and_resume_work_while_the_server_is_draining(api: RunningApi) -> None:
    api.in_flight.draining = True
    for path, is_paused in ((PAUSE, True), (RESUME, False)):
        answer = await api.request("POST", path)
        assert (answer.status, answer.json) == (200, {"paused": is_paused})


@pytest.mark.gen_test
async def test_each_change_is_logged_with_the_name_of_the_key(
    start_api: StartApi, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "orders")
    with_keys, without = await start_api(guard=build_guard()), await start_api(name="other.db")
    for path in (RESUME, PAUSE, PAUSE, RESUME):
        await with_keys.request("POST", path, headers=bearer(TOKENS["admin"]))
    await without.request("POST", PAUSE)
    assert [record.getMessage() for record in caplog.records if record.name == "orders"] == [
        "processing paused by the key admin",
        "processing resumed by the key admin",
        "processing paused by 127.0.0.1",
    ]


@pytest.mark.gen_test
async def test_pages_of_other_sites_and_other_methods_are_refused(api: RunningApi) -> None:
    answer = await api.request("POST", PAUSE, headers={"Sec-Fetch-Site": "cross-site"})
    assert_is_problem(answer, 403, "cross-origin", PAUSE)
    answer = await api.get(PAUSE)
    assert_is_problem(answer, 405, "method-not-allowed", PAUSE)
    assert answer.headers["Allow"] == "POST"
    assert await shown(api) == [False, "0.0", False, False]


@pytest.mark.gen_test
async def test_a_storage_error_is_a_503(start_api: StartApi) -> None:
    async def fail(_: bool) -> bool:
        raise StorageUnavailableError("gone")

    api = await start_api(set_paused=fail)
    assert_is_problem(await api.request("POST", PAUSE), 503, "storage-unavailable", PAUSE)


@pytest.mark.gen_test
@pytest.mark.parametrize("scope", ["read", "write", "admin", None])
async def test_the_dashboard_gets_the_scope_of_its_key(start_api: StartApi, scope: str | None) -> None:
    api = await start_api(guard=build_guard() if scope else None)
    key = f"Authorization: Bearer {TOKENS[scope]}\r\n" if scope else ""
    async with open_stream(api.port, get_text("/metrics/events", headers=key)) as stream:
        assert stream.headers["Orders-Key-Scope"] == (scope or "admin")
