"""`Expect: 100-continue` (RFC 9110 §10.1.1): a rejected request gets its final response, and no 100."""

import pytest

from handlers.security.rate_limit import RateLimit
from tests.cases import cases
from tests.handlers.conftest import StartApi
from tests.handlers.running_api import RunningApi, get_text, post_text
from tests.handlers.security.sample_keys import TOKENS, build_guard
from tests.models.samples import order_text

JSON = "Content-Type: application/json"
NDJSON = "Content-Type: application/x-ndjson"
CHUNKED = "Transfer-Encoding: chunked"
GZIP = "Content-Encoding: gzip"


def head(path: str, *fields: str, method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: test", "Expect: 100-continue", *fields]
    return "\r\n".join([*lines, "", ""]).encode()


async def assert_is_refused(api: RunningApi, request: bytes, status: int) -> None:
    async with api.connection() as connection:
        await connection.send(request)
        answer = await connection.answer()
        assert (answer.status, answer.headers["Connection"]) == (status, "close")
        assert await connection.is_closed_by_server()


@pytest.mark.gen_test
@cases(
    ("request_head", "status"),
    [
        (head("/order", JSON, "Content-Length: 65537"), 413),
        (head("/order", JSON, "Content-Length: 31457280"), 413),
        (head("/orders", JSON, "Content-Length: 8388609"), 413),
        (head("/order", "Content-Type: text/plain", "Content-Length: 10"), 415),
        (head("/order", JSON, GZIP, CHUNKED), 415),
        (head("/orders", "Content-Type: text/csv", "Content-Length: 10"), 415),
        (head("/orders", NDJSON, GZIP, CHUNKED), 415),
        (head("/nowhere", JSON, "Content-Length: 10"), 404),
        (head("/nowhere", JSON, CHUNKED), 404),
        (head("/order/1/cancel", JSON, "Content-Length: 10"), 404),
        (head("/order", JSON, "Content-Length: 10", method="PUT"), 405),
        (head("/livez", JSON, "Content-Length: 100000"), 405),
    ],
)
async def test_a_rejection_is_sent_instead_of_100_continue(api: RunningApi, request_head: bytes, status: int) -> None:
    await assert_is_refused(api, request_head, status)


@pytest.mark.gen_test
async def test_a_request_without_a_key_or_over_the_rate_limit_gets_no_100_continue(start_api: StartApi) -> None:
    api = await start_api(guard=build_guard(RateLimit(1, 3_600)))
    fields = (JSON, "Content-Length: 100", f"Authorization: Bearer {TOKENS['read']}")
    await assert_is_refused(api, head("/order", *fields[:2]), 401)
    await assert_is_refused(api, head("/order", *fields), 403)
    await assert_is_refused(api, head("/order", *fields), 429)


@pytest.mark.gen_test
async def test_a_stream_gets_no_100_continue_while_draining(api: RunningApi) -> None:
    api.in_flight.draining = True
    await assert_is_refused(api, head("/orders", NDJSON, CHUNKED), 503)


@pytest.mark.gen_test
async def test_the_case_of_the_expectation_does_not_matter(api: RunningApi) -> None:
    request, body = split(post_text(order_text(), headers="Expect: 100-Continue\r\n"))
    async with api.connection() as connection:
        await connection.send(request)
        assert (await connection.answer(has_body=False)).status == 100
        await connection.send(body)
        assert (await connection.answer()).status == 202


@pytest.mark.gen_test
async def test_an_http_1_0_client_gets_no_100_continue(api: RunningApi) -> None:
    for fields in ("", "Connection: keep-alive\r\n"):
        request, body = split(post_text(order_text(), version="1.0", headers=f"Expect: 100-continue\r\n{fields}"))
        async with api.connection() as connection:
            await connection.send(request)
            await connection.send(body)
            assert (await connection.answer()).status == 202


@pytest.mark.gen_test
async def test_a_request_without_a_body_gets_no_100_continue_and_keeps_its_connection(api: RunningApi) -> None:
    async with api.connection() as connection:
        for fields in ("", "Content-Length: 0\r\n"):
            await connection.send(get_text("/livez", headers=f"Expect: 100-continue\r\n{fields}"))
            answer = await connection.answer()
            assert (answer.status, answer.headers.get("Connection")) == (200, None)


def split(request: bytes) -> tuple[bytes, bytes]:
    """The head and the body."""
    request_head, separator, body = request.partition(b"\r\n\r\n")
    return request_head + separator, body
