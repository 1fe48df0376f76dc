"""HTTP connections: HEAD, HTTP/1.0, keep-alive, pipelining, disconnects and draining."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

import pytest

from tests.cases import cases
from tests.handlers.conftest import StartApi
from tests.handlers.running_api import JSON, RunningApi, get_text, post_text, turn_of_the_loop
from tests.models.samples import order_text

PATHS = ["/order/12345", "/metrics", "/livez", "/readyz"]


@pytest.mark.gen_test
@cases("path", [*PATHS, "/order", "/order/99", "/nowhere"])
async def test_head_is_get_without_the_body(api: RunningApi, path: str) -> None:
    await api.post(order_text())
    async with api.connection() as connection:
        is_equal = False
        while not is_equal:
            await connection.send(get_text(path))
            with_body = await connection.answer()
            await connection.send(get_text(path, method="HEAD"))
            without = await connection.answer(has_body=False)
            assert without.status == with_body.status
            assert without.headers["Content-Type"] == with_body.headers["Content-Type"]
            is_equal = without.headers["Content-Length"] == with_body.headers["Content-Length"]
            # The metrics can change between the two requests.
            assert is_equal or path == "/metrics"
        # The response to HEAD has no body, so the next response begins directly after its headers.
        await connection.send(get_text("/livez"))
        assert (await connection.answer()).json == {"status": "ok"}


@pytest.mark.gen_test
async def test_an_http_1_0_connection_closes_after_the_response(api: RunningApi) -> None:
    async with api.connection() as connection:
        await connection.send(post_text(order_text(), version="1.0"))
        assert (await connection.answer()).status == 202
        assert await connection.is_closed_by_server()
    for path in [*PATHS, "/nowhere"]:
        async with api.connection() as connection:
            await connection.send(get_text(path, version="1.0"))
            assert (await connection.answer()).status == (404 if path == "/nowhere" else 200)
            assert await connection.is_closed_by_server()


@pytest.mark.gen_test
async def test_an_http_1_0_client_may_ask_for_keep_alive(api: RunningApi) -> None:
    async with api.connection() as connection:
        for _ in range(2):
            await connection.send(post_text(order_text(), version="1.0", headers="Connection: keep-alive\r\n"))
            answer = await connection.answer()
            assert (answer.status, answer.headers["Connection"].lower()) == (202, "keep-alive")


@pytest.mark.gen_test
async def test_connection_close_is_honoured(api: RunningApi) -> None:
    async with api.connection() as connection:
        await connection.send(post_text(order_text(), headers="Connection: close\r\n"))
        answer = await connection.answer()
        assert (answer.status, answer.headers["Connection"]) == (202, "close")
        assert await connection.is_closed_by_server()


@pytest.mark.gen_test
@pytest.mark.parametrize("request_of", [partial(post_text, order_text()), partial(get_text, "/order/12345")])
async def test_an_explicit_keep_alive_does_not_change_the_response(
    api: RunningApi, request_of: Callable[..., bytes]
) -> None:
    await api.post(order_text())
    answers = []
    for header in ("", "Connection: keep-alive\r\n"):
        async with api.connection() as connection:
            await connection.send(request_of(headers=f"X-Request-Id: mine\r\n{header}"))
            answers.append(await connection.answer())
    usual, unusual = answers
    for answer in answers:
        answer.headers["Date"] = "now"  # a second can end between the two responses
    assert list(usual.headers.get_all()) == list(unusual.headers.get_all())
    assert (usual.status, usual.body) == (unusual.status, unusual.body)


@pytest.mark.gen_test
async def test_pipelined_requests_are_answered_in_order(api: RunningApi) -> None:
    async with api.connection() as connection:
        requests = [post_text(order_text(order_id=str(order_id))) for order_id in range(1, 21)]
        requests += [get_text(f"/order/{order_id}") for order_id in range(20, 0, -1)]
        requests += [get_text("/nowhere"), post_text(b"{"), get_text("/metrics")]
        await connection.send(b"".join(requests))
        accepted = [await connection.answer() for _ in range(20)]
        assert [answer.json["order_id"] for answer in accepted] == [str(order_id) for order_id in range(1, 21)]
        found = [await connection.answer() for _ in range(20)]
        assert [answer.json["order_id"] for answer in found] == list(range(20, 0, -1))
        assert [(await connection.answer()).status for _ in range(3)] == [404, 400, 200]


@pytest.mark.gen_test
async def test_a_request_may_arrive_byte_by_byte(api: RunningApi) -> None:
    async with api.connection() as connection:
        for byte in post_text(order_text(metadata='{"a":"é"}')):
            await connection.send(bytes([byte]))
            await turn_of_the_loop()
        assert (await connection.answer()).status == 202
    assert (await api.get("/order/12345")).json["metadata"] == {"a": "é"}


@pytest.mark.gen_test
async def test_expect_100_continue_is_answered(api: RunningApi) -> None:
    head, _, body = post_text(order_text(), headers="Expect: 100-continue\r\n").partition(b"\r\n\r\n")
    async with api.connection() as connection:
        await connection.send(head + b"\r\n\r\n")
        assert (await connection.answer(has_body=False)).status == 100
        await connection.send(body)
        assert (await connection.answer()).status == 202


@pytest.mark.gen_test
async def test_an_order_is_stored_if_its_client_disconnects_before_the_commit(
    api: RunningApi,
) -> None:
    async with api.connection() as other:
        with api.blocked():
            async with api.connection() as connection:
                await connection.send(post_text(order_text(order_id="1")))
                await api.until_in_flight(1)
            await other.send(post_text(order_text(order_id="2")))
            await api.until_in_flight(2)
        assert (await other.answer()).status == 202
    await api.until_in_flight(0)
    assert (await api.get("/order/1")).json["status"] == "Pending"
    assert (await api.get("/order/2")).json["status"] == "Pending"


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/order/1", "/order/99", "/metrics"])
async def test_a_disconnect_before_the_response_does_not_affect_others(api: RunningApi, path: str) -> None:
    await api.post(order_text(order_id="1"))
    with api.blocked(reads=True):
        async with api.connection() as connection:
            await connection.send(get_text(path))
            await api.until_in_flight(1)
    await api.until_in_flight(0)
    assert (await api.get("/order/1")).status == 200


@pytest.mark.gen_test
@pytest.mark.parametrize("sent", [1, 30, -1])
async def test_a_disconnect_within_the_request_leaves_nothing_in_flight(api: RunningApi, sent: int) -> None:
    async with api.connection() as connection:
        await connection.send(post_text(order_text())[:sent])
    assert (await api.get("/livez")).status == 200
    await api.until_in_flight(0)
    assert (await api.get("/order/12345")).status == 404


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/order/12345", "/metrics", "/livez", "/order/99", "/order", "/nowhere", "/readyz"])
async def test_while_draining_every_response_closes_its_connection(api: RunningApi, path: str) -> None:
    await api.post(order_text())
    async with api.connection() as connection:
        await connection.send(get_text(path))
        before = await connection.answer()
        assert "Connection" not in before.headers
        api.in_flight.draining = True
        await connection.send(get_text(path))
        answer = await connection.answer()
        assert answer.headers["Connection"] == "close"
        assert answer.status == (503 if path == "/readyz" else before.status)


@pytest.mark.gen_test
async def test_while_draining_orders_on_open_connections_are_accepted(api: RunningApi) -> None:
    async with api.connection() as connection:
        await connection.send(get_text("/readyz"))
        assert (await connection.answer()).status == 200
        api.in_flight.draining = True
        await connection.send(post_text(order_text()))
        answer = await connection.answer()
        assert (answer.status, answer.headers["Connection"]) == (202, "close")
    answer = await api.get("/readyz")
    assert (answer.status, answer.json["type"]) == (503, "/problems/stopping")
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.gen_test
async def test_draining_waits_for_requests_in_flight(api: RunningApi) -> None:
    async with api.connection() as connection:
        with api.blocked():
            await connection.send(post_text(order_text()))
            await api.until_in_flight(1)
            draining = asyncio.ensure_future(api.in_flight.drain(60))
            await turn_of_the_loop()
            assert api.in_flight.draining
            assert not draining.done()
        assert (await connection.answer()).status == 202
        await draining


@pytest.mark.gen_test
async def test_draining_ends_after_its_timeout(api: RunningApi, log: list[logging.LogRecord]) -> None:
    async with api.connection() as connection:
        with api.blocked():
            await connection.send(post_text(order_text()))
            await api.until_in_flight(1)
            await api.in_flight.drain(0)
            assert [record.getMessage() for record in log] == ["the drain timed out: 1 requests are still in flight"]
            log.clear()
        assert (await connection.answer()).status == 202


@pytest.mark.gen_test
async def test_every_route_sends_a_response(start_api: StartApi) -> None:
    api = await start_api()
    answers = [
        await api.request("POST", "/order", order_text(), JSON),
        await api.get("/order/12345"),
        await api.get("/metrics"),
        await api.get("/livez"),
        await api.get("/readyz"),
        await api.request("DELETE", "/order"),
        await api.request("DELETE", "/order/12345"),
        await api.get("/nowhere"),
    ]
    assert [answer.status for answer in answers] == [202, 200, 200, 200, 200, 405, 405, 404]
    assert [answer.json for answer in answers[3:5]] == [{"status": "ok"}, {"status": "ok", "paused": False}]
    assert all(answer.headers["X-Request-Id"] for answer in answers)
    assert all(answer.headers["Content-Type"].endswith("json") for answer in answers)


@pytest.mark.gen_test
@pytest.mark.parametrize("origin", ["http://test", "HTTP://shop.example:8080", "https://[::1]:8443"])
async def test_the_absolute_form_of_a_target_is_accepted(api: RunningApi, origin: str) -> None:
    await api.post(order_text())
    async with api.connection() as connection:
        for path in ("/order/12345", "/order/12345?x=1", "/metrics", "/livez"):
            await connection.send(get_text(f"{origin}{path}"))
            assert (await connection.answer()).status == 200
        await connection.send(get_text(origin))
        assert (await connection.answer()).headers["Content-Type"].startswith("text/html")
