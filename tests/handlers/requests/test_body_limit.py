"""The limit on the length of request bodies."""

import pytest

from handlers.requests.body_limit import MAX_DISCARDED_BYTES
from handlers.transport.lane import MAX_BODY_BYTES
from tests.cases import cases
from tests.handlers.problem_check import assert_is_problem
from tests.handlers.running_api import JSON, RunningApi, post_text
from tests.models.samples import order_text


@pytest.mark.gen_test
async def test_a_body_over_64_kib_is_a_413(api: RunningApi) -> None:
    largest = order_text() + b" " * (MAX_BODY_BYTES - len(order_text()))
    assert len(largest) == 65_536
    assert (await api.post(largest)).status == 202
    answer = await api.post(largest + b" ")
    problem = assert_is_problem(answer, 413, "too-large")
    assert problem["detail"] == "The body of one request is at most 65536 bytes."


@pytest.mark.gen_test
@cases("path", ["/order", "/order/1", "/livez", "/nowhere", "/metrics"])
async def test_a_body_that_is_too_large_is_a_413_on_every_path(api: RunningApi, path: str) -> None:
    answer = await api.request("POST", path, b"x" * (MAX_BODY_BYTES + 1), JSON)
    assert_is_problem(answer, 413, "too-large", path)


@pytest.mark.gen_test
async def test_the_connection_can_be_used_after_a_413(api: RunningApi) -> None:
    async with api.connection() as connection:
        for _ in range(2):
            await connection.send(post_text(b" " * 300_000))
            assert_is_problem(await connection.answer(), 413, "too-large")
        await connection.send(post_text(order_text()))
        assert (await connection.answer()).status == 202


def chunked(*chunks: bytes) -> bytes:
    head = b"POST /order HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))


@pytest.mark.gen_test
async def test_a_chunked_body_has_the_same_limit(api: RunningApi) -> None:
    async with api.connection() as connection:
        await connection.send(chunked(*[order_text()[i : i + 7] for i in range(0, len(order_text()), 7)]))
        assert (await connection.answer()).status == 202
        await connection.send(chunked(order_text(), b" " * (MAX_BODY_BYTES - len(order_text()))))
        assert (await connection.answer()).headers["Idempotent-Replayed"] == "true"
        await connection.send(chunked(order_text(), b" " * (MAX_BODY_BYTES - len(order_text())), b" "))
        assert_is_problem(await connection.answer(), 413, "too-large")
        await connection.send(chunked(*[b" " * 10_000] * 100))
        assert_is_problem(await connection.answer(), 413, "too-large")
        await connection.send(post_text(order_text()))
        assert (await connection.answer()).status == 202


def announced(length: int) -> bytes:
    head = "POST /order HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {length}\r\n\r\n".encode()


@pytest.mark.gen_test
@cases(
    "length",
    [
        MAX_DISCARDED_BYTES + 1,
        10**12,
        10**18,
        10**30,
    ],
)
async def test_a_body_too_large_to_be_discarded_is_rejected_before_it_is_sent(api: RunningApi, length: int) -> None:
    async with api.connection() as connection:
        await connection.send(announced(length))
        assert_is_problem(await connection.answer(), 413, "too-large")
        assert await connection.is_closed_by_server()


@pytest.mark.gen_test
async def test_a_response_that_closes_its_connection_says_so(api: RunningApi) -> None:
    async with api.connection() as connection:
        await connection.send(announced(MAX_DISCARDED_BYTES + 1))
        assert (await connection.answer()).headers.get("Connection") == "close"


@pytest.mark.gen_test
async def test_an_endless_chunked_body_is_a_413_and_closed(api: RunningApi) -> None:
    async with api.connection() as connection:
        whole = chunked(order_text(), *[b" " * 1_000_000] * (MAX_DISCARDED_BYTES // 1_000_000 + 1))
        await connection.send(whole.removesuffix(b"0\r\n\r\n"))
        answer = await connection.answer()
        assert_is_problem(answer, 413, "too-large")
        assert answer.headers["Connection"] == "close"
        assert await connection.is_closed_by_server()
    assert (await api.get("/order/12345")).status == 404


@pytest.mark.gen_test
async def test_an_unfinished_oversized_body_leaves_no_request_in_flight(api: RunningApi) -> None:
    async with api.connection() as connection:
        await connection.send(post_text(b" " * 200_000)[:100_000])
    await api.in_flight.drain(5)
