"""Every error is `application/problem+json` with type, instance and request id, and without internal details."""

import asyncio
import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from models.parsing.order_body import MAX_ID
from models.writes.waiter import Waiter
from tests.cases import cases
from tests.handlers.conftest import StartApi
from tests.handlers.problem_check import assert_is_problem
from tests.handlers.running_api import JSON, Answer, RunningApi, get_text, post_text, until
from tests.models.samples import order_text

SERVED_BY_TORNADO = {"TE": "trailers"}
"""Headers of a request that is not plain."""


@pytest.mark.gen_test
@cases(
    ("body", "detail"),
    [
        (b"", "Expecting value at line 1, column 1"),
        (b"{", "Expecting property name enclosed in double quotes at line 1, column 2"),
        (order_text(total_amount="NaN"), "NaN is not JSON"),
        (b"[" * 60_000, "nested deeper than 100 levels"),
        (b'{"order_id": "\xff"}', "not UTF-8: byte 14 can't be decoded"),
        (b'{"order_id', "Unterminated string starting at line 1, column 2"),
        (b'{"a": "\x01"}', "Invalid control character at line 1, column 8"),
        (b"order_id=1", "Expecting value at line 1, column 1"),
    ],
)
async def test_a_body_that_is_not_json_is_a_400(shared_api: RunningApi, body: bytes, detail: str) -> None:
    assert assert_is_problem(await shared_api.post(body), 400, "not-json")["detail"] == detail


@pytest.mark.gen_test
async def test_an_invalid_order_is_a_422_with_all_errors(shared_api: RunningApi) -> None:
    answer = await shared_api.post(order_text(order_id="0", item_ids="[1, true]", user_id=None, x="1"))
    problem = assert_is_problem(answer, 422, "invalid-order")
    assert sorted(problem["errors"], key=lambda error: error["pointer"]) == [
        {"pointer": "#/item_ids/1", "detail": f"must be an integer from 1 to {MAX_ID}"},
        {"pointer": "#/order_id", "detail": f"must be an integer from 1 to {MAX_ID}"},
        {"pointer": "#/user_id", "detail": "is required"},
        {"pointer": "#/x", "detail": "is not a field of an order"},
    ]
    assert problem["errors_total"] == 4


@pytest.mark.gen_test
async def test_at_most_100_errors_of_an_order_are_listed_and_all_are_counted(shared_api: RunningApi) -> None:
    answer = await shared_api.post(order_text(**{f"k{number}": "1" for number in range(4_000)}))
    problem = assert_is_problem(answer, 422, "invalid-order")
    assert (len(problem["errors"]), problem["errors_total"]) == (100, 4_000)
    assert problem["detail"].endswith("; and 3997 more")
    assert len(answer.body) < 64 * 1024


@pytest.mark.gen_test
async def test_at_most_100_invalid_parameters_are_listed_and_all_are_counted(shared_api: RunningApi) -> None:
    query = "&".join(f"k{number}=1" for number in range(300))
    for method, path in (("GET", "/orders"), ("POST", "/orders/retry")):
        answer = await shared_api.request(method, f"{path}?status=Failed&{query}", b"" if method == "POST" else None)
        problem = assert_is_problem(answer, 422, "invalid-parameter", path)
        assert (len(problem["errors"]), problem["errors_total"]) == (100, 300)


@pytest.mark.gen_test
async def test_half_a_surrogate_pair_is_a_422(shared_api: RunningApi) -> None:
    answer = await shared_api.post(order_text(**{"\\ud800": '"\\udfff"', "metadata": '{"a": "\\ud800"}'}))
    assert_is_problem(answer, 422, "invalid-order")


@pytest.mark.gen_test
@cases("path", ["//", "/order/", "/order/x", "/Order", "//order", "/order/1/2", "/.env", "/%00"])
@cases("method", ["GET", "POST", "DELETE"])
async def test_an_unknown_path_is_a_404(shared_api: RunningApi, method: str, path: str) -> None:
    body = b"{}" if method == "POST" else None
    answer = await shared_api.request(method, path, body)
    problem = assert_is_problem(answer, 404, "not-found", path)
    assert problem["detail"] == f"There is nothing at {path}."


@pytest.mark.gen_test
@cases(
    ("path", "allowed"),
    [
        ("/order", "POST"),
        ("/order/1", "GET, HEAD"),
        ("/metrics", "GET, HEAD"),
        ("/livez", "GET, HEAD"),
        ("/readyz", "GET, HEAD"),
    ],
)
@cases("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_a_method_that_a_path_does_not_allow_is_a_405_with_allow(
    shared_api: RunningApi, method: str, path: str, allowed: str
) -> None:
    if method in allowed:
        return
    answer = await shared_api.request(method, path, b"{}" if method in ("POST", "PUT", "PATCH") else None)
    assert_is_problem(answer, 405, "method-not-allowed", path)
    assert set(answer.headers["Allow"].split(", ")) == set(allowed.split(", "))


@pytest.mark.gen_test
@cases(
    ("path", "allowed"),
    [
        ("/livez", {"GET", "HEAD"}),
        ("/order", {"POST"}),
        ("/order/1", {"GET", "HEAD"}),
    ],
)
async def test_an_unknown_method_is_a_405_with_allow(shared_api: RunningApi, path: str, allowed: set[str]) -> None:
    async with shared_api.connection() as connection:
        await connection.send(get_text(path, method="BREW"))
        answer = await connection.answer()
    assert_is_problem(answer, 405, "method-not-allowed", path)
    assert set(answer.headers["Allow"].split(", ")) == allowed


@pytest.mark.gen_test
@cases(
    "content_type",
    [
        None,
        "text/plain",
        "application/jsonp",
        "application/json-seq",
        "application/json, text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        "application/problem+json",
        ";application/json",
    ],
)
async def test_another_content_type_is_a_415(shared_api: RunningApi, content_type: str | None) -> None:
    answer = await shared_api.post(order_text(), {"Content-Type": content_type} if content_type else {})
    assert_is_problem(answer, 415, "unsupported-media-type")
    assert (await shared_api.get("/order/12345")).status == 404


@pytest.mark.gen_test
@pytest.mark.parametrize("when", ["immediately", "later"])
async def test_an_unexpected_error_is_a_500_without_details(
    start_api: StartApi, log: list[logging.LogRecord], when: str
) -> None:
    def insert(order: object) -> "asyncio.Future[object]":
        error = RuntimeError("the secret in orders.db")
        if when == "immediately":
            raise error
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        future.set_exception(error)
        return future

    api = await start_api(insert=insert)
    answer = await api.post(order_text(), JSON | SERVED_BY_TORNADO | {"X-Request-Id": "abc-123"})
    assert_is_problem(answer, 500, "internal-error")
    assert b"secret" not in answer.body
    assert b"Traceback" not in answer.body
    [record] = log
    assert (record.levelname, record.getMessage()) == ("ERROR", "request abc-123 failed: /order")
    assert vars(record)["fields"] == {"request_id": "abc-123", "order_id": 12345}
    assert record.exc_info
    assert "the secret in orders.db" in str(record.exc_info[1])
    log.clear()


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("path", "name"), [("/order/1", "find_for"), ("/metrics", "totals"), ("/readyz", "check_storage")]
)
async def test_an_unexpected_error_is_a_500_on_every_route(
    start_api: StartApi, log: list[logging.LogRecord], path: str, name: str
) -> None:
    def fail(*arguments: object) -> None:
        raise RuntimeError("unforeseen")

    api = await start_api(**{name: fail})
    answer = await api.get(path)
    problem = assert_is_problem(answer, 500, "internal-error", path)
    assert [record.getMessage() for record in log] == [f"request {problem['request_id']} failed: {path}"]
    named = {"order_id": 1} if path == "/order/1" else {}
    assert [vars(record)["fields"] for record in log] == [{"request_id": problem["request_id"], **named}]
    log.clear()


def assert_says_when_to_try_again(answer: Answer, slug: str, path: str = "/order") -> None:
    assert_is_problem(answer, 503, slug, path)
    assert int(answer.headers["Retry-After"]) >= 1


@pytest.mark.sqlite
@pytest.mark.gen_test
@pytest.mark.usefixtures("failing_storage")
async def test_a_database_locked_by_another_program_is_a_503(api: RunningApi, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "orders.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert_says_when_to_try_again(await api.post(order_text()), "storage-busy")
        assert_says_when_to_try_again(await api.get("/readyz"), "storage-busy", "/readyz")
        assert (await api.get("/order/12345")).status == 404
        assert (await api.get("/metrics")).status == 200
        assert (await api.get("/livez")).status == 200
        other.execute("ROLLBACK")
    assert (await api.get("/readyz")).status == 200
    assert (await api.post(order_text())).status == 202


@pytest.mark.gen_test
@pytest.mark.usefixtures("failing_storage")
async def test_a_database_that_cannot_be_written_is_a_503(api: RunningApi) -> None:
    await api.set_read_only(True)
    assert_says_when_to_try_again(await api.post(order_text()), "storage-unavailable")
    assert_says_when_to_try_again(await api.get("/readyz"), "storage-unavailable", "/readyz")
    assert (await api.get("/order/12345")).status == 404
    await api.set_read_only(False)
    assert (await api.get("/readyz")).status == 200
    assert (await api.post(order_text())).status == 202


@pytest.mark.gen_test
async def test_orders_over_the_intake_limit_are_a_503_and_not_stored(start_api: StartApi) -> None:
    api = await start_api(max_intake=3)
    async with api.connection() as first, api.connection() as second, api.connection() as third:
        connections = [first, second, third]
        with api.blocked():
            # The writer has the first order, and the other two wait for the writer. All three count towards the limit.
            for order_id, connection in enumerate(connections, 1):
                await connection.send(post_text(order_text(order_id=str(order_id))))
                await api.until_in_flight(order_id)
            assert_says_when_to_try_again(await api.post(order_text(order_id="4")), "overloaded")
        assert [(await connection.answer()).status for connection in connections] == [202] * 3
    assert (await api.get("/order/4")).status == 404
    assert (await api.post(order_text(order_id="4"))).status == 202


@pytest.mark.gen_test
async def test_an_order_sent_after_the_service_is_closed_is_a_503(api: RunningApi) -> None:
    await api.orders.close()
    assert_says_when_to_try_again(await api.post(order_text()), "stopping")


@pytest.mark.gen_test
async def test_a_shared_error_is_logged_once_for_each_request(
    start_api: StartApi, log: list[logging.LogRecord]
) -> None:
    shared = RuntimeError("one for all")
    waiters: list[Waiter[object]] = []

    def insert_for(order: object, waiter: Waiter[object]) -> None:
        waiters.append(waiter)

    api = await start_api(insert_for=insert_for)
    async with api.connection() as first, api.connection() as second, api.connection() as third:
        connections = [first, second, third]
        for connection in connections:
            await connection.send(post_text(order_text()))
        await until(lambda: len(waiters) == 3)
        for waiter in waiters:
            waiter.set_exception(shared)
        for connection in connections:
            assert_is_problem(await connection.answer(), 500, "internal-error")
    lengths = [len(logging.Formatter().format(record).splitlines()) for record in log]
    log.clear()
    assert len(set(lengths)) == 1


@pytest.mark.gen_test
@cases(
    ("method", "path", "status", "slug"),
    [
        ("PUT", "/order", 405, "method-not-allowed"),
        ("POST", "/order/1", 405, "method-not-allowed"),
        ("POST", "/metrics", 405, "method-not-allowed"),
        ("POST", "/nowhere", 404, "not-found"),
    ],
)
async def test_a_form_is_not_parsed(shared_api: RunningApi, method: str, path: str, status: int, slug: str) -> None:
    answer = await shared_api.request(method, path, b"no form", {"Content-Type": "multipart/form-data"})
    assert_is_problem(answer, status, slug, path)


@pytest.mark.gen_test
@cases("method", ["BREW", "TRACE", "get"])
async def test_an_unknown_method_on_an_unknown_path_is_a_404(shared_api: RunningApi, method: str) -> None:
    async with shared_api.connection() as connection:
        await connection.send(get_text("/nowhere", method=method))
        answer = await connection.answer()
    assert_is_problem(answer, 404, "not-found", "/nowhere")
    assert "Allow" not in answer.headers
