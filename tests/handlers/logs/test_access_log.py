"""The access log: the fields of a line, and that every response is logged."""

import logging
import tempfile
from typing import Any

import pytest
from msgspec import structs

from handlers.logs.access_lines import AccessLines
from handlers.logs.access_log import MAX_TARGET_CHARACTERS, Access, AccessLog
from handlers.logs.log_format import FORMATS, formatter
from handlers.logs.log_writer import LogWriter
from tests.handlers.conftest import StartApi
from tests.handlers.running_api import JSON, AccessList, RunningApi, Way, get_text, post_text, turn_of_the_loop
from tests.handlers.security.sample_keys import TOKENS, UNKNOWN, bearer, build_guard
from tests.models.samples import order_text


@pytest.fixture
def lines() -> AccessList:
    return AccessList()


@pytest.fixture
def logged(start_api: StartApi, lines: AccessList, io_loop: Any) -> RunningApi:
    times_ns = iter(range(0, 10**12, 1_234_567))
    access_log = AccessLog(lines, clock_ns=lambda: next(times_ns))
    opened: RunningApi = io_loop.run_sync(lambda: start_api(guard=build_guard(), access_log=access_log))
    return opened


@pytest.mark.gen_test
async def test_a_line_contains_all_fields_of_request_and_response(logged: RunningApi, lines: AccessList) -> None:
    body = b'{"message": "Order processing initiated successfully", "order_id": "12345"}'
    await logged.post(order_text(), JSON | bearer(TOKENS["write"]) | {"X-Request-Id": "mine"})
    assert [structs.asdict(access) for access in lines.accesses] == [
        {
            "method": "POST",
            "path": "/order",
            "status": 202,
            "bytes": len(body),
            "ms": 1.235,
            "request_id": "mine",
            "client": "127.0.0.1",
            "key": "write",
            "order_id": 12345,
        }
    ]


@pytest.mark.gen_test
async def test_every_response_is_logged_once(logged: RunningApi, lines: AccessList) -> None:
    key = bearer(TOKENS["write"])
    answers = [
        await logged.post(order_text(), JSON | key),
        await logged.get("/order/12345?x=1", key),
        await logged.request("HEAD", "/order/12345", headers=key),
        await logged.get("/order/99", key),
        await logged.get("/metrics", key),
        await logged.get("/livez"),
        await logged.get("/nowhere", key),
        await logged.request("DELETE", "/order", headers=key),
        await logged.request("BREW", "/order", headers=key),
        await logged.post(b"{", JSON | key),
        await logged.post(b"x" * 100_000, JSON | key),
        await logged.get("/metrics", bearer(UNKNOWN)),
        await logged.request("POST", "/orders/retry", b"", headers=key),
    ]
    statuses = [202, 200, 200, 404, 200, 200, 404, 405, 405, 400, 413, 401, 403]
    assert [answer.status for answer in answers] == statuses
    assert lines.values("status") == statuses
    assert lines.values("bytes") == [len(answer.body) for answer in answers]
    assert lines.values("request_id") == [answer.headers["X-Request-Id"] for answer in answers]
    assert lines.values("key") == ["write"] * 5 + ["-"] + ["write"] * 5 + ["-"] + ["write"]
    assert lines.values("path")[1] == "/order/12345?x=1"
    assert lines.values("order_id") == [12345, 12345, 12345, 99, *[None] * 9]


@pytest.mark.gen_test
@pytest.mark.parametrize("way", Way)
async def test_a_line_names_the_order_of_the_path_or_of_the_body(
    logged: RunningApi, lines: AccessList, way: Way
) -> None:
    logged.way = way
    key = bearer(TOKENS["admin"])
    statuses = [
        (await logged.post(order_text(), JSON | key)).status,
        (await logged.post(order_text(), JSON | key)).status,
        (await logged.post(order_text(user_id="2"), JSON | key)).status,
        (await logged.post(order_text(user_id="0"), JSON | key)).status,
        (await logged.get("/order/7", key)).status,
        (await logged.get(f"/order/{2**63}", key)).status,
        (await logged.get("/order/12345/attempts", key)).status,
        (await logged.request("POST", "/order/12345/cancel", b"", key)).status,
        (await logged.get("/order/07", key)).status,
        (await logged.get("/order/7x", key)).status,
        (await logged.get("/orders?user_id=7", key)).status,
    ]
    assert statuses == [202, 202, 409, 422, 404, 404, 200, 200, 404, 404, 200]
    assert lines.values("order_id") == [12345, 12345, 12345, None, 7, 2**63, 12345, 12345, None, None, None]


@pytest.mark.gen_test
async def test_pipelined_requests_are_logged_one_by_one(logged: RunningApi, lines: AccessList) -> None:
    key = f"Authorization: Bearer {TOKENS['write']}\r\n"
    async with logged.connection() as connection:
        await connection.send(post_text(order_text(), headers=key) + get_text("/order/12345", headers=key) * 2)
        assert [(await connection.answer()).status for _ in range(3)] == [202, 200, 200]
    assert lines.values("method") == ["POST", "GET", "GET"]


@pytest.mark.gen_test
async def test_a_disconnect_before_the_response_is_logged_without_a_status(
    logged: RunningApi, lines: AccessList
) -> None:
    key = f"Authorization: Bearer {TOKENS['read']}\r\n"
    for path in ("/order/12345", "/metrics"):
        with logged.blocked(reads=True):
            async with logged.connection() as connection:
                await connection.send(get_text(path, headers=key))
                await logged.until_in_flight(1)
                connection.reset()
            while path not in lines.values("path"):
                await turn_of_the_loop()
        await logged.until_in_flight(0)
    assert (lines.values("path"), lines.values("status")) == (["/order/12345", "/metrics"], [None, None])


@pytest.mark.gen_test
@pytest.mark.parametrize("sent", [-1, -30])
async def test_a_disconnect_within_the_body_is_logged(logged: RunningApi, lines: AccessList, sent: int) -> None:
    async with logged.connection() as connection:
        await connection.send(post_text(order_text(), headers=f"Authorization: Bearer {TOKENS['write']}\r\n")[:sent])
    while not lines.accesses:
        await turn_of_the_loop()
    assert (lines.values("path"), lines.values("status"), lines.values("key")) == (["/order"], [None], ["write"])


@pytest.mark.gen_test
async def test_a_413_without_reading_the_body_is_logged(logged: RunningApi, lines: AccessList) -> None:
    head = f"POST /order HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {TOKENS['write']}\r\n"
    async with logged.connection() as connection:
        await connection.send(f"{head}Content-Length: 99999999999\r\n\r\n".encode())
        assert (await connection.answer()).status == 413
        assert await connection.is_closed_by_server()
    assert lines.values("status") == [413]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("/caf\xe9", "/caf%E9"),
        ('/"status=200"', "/%22status=200%22"),
        ("/a\x85b\xa0", "/a%85b%A0"),
        ("/x?q=%0d%0a\\n'", "/x?q=%0d%0a\\n'"),
        ("/" + "x" * 5_000, "/" + "x" * (MAX_TARGET_CHARACTERS - 1) + "..."),
    ],
)
async def test_special_characters_of_a_path_are_escaped_and_a_long_path_is_cut(
    logged: RunningApi, lines: AccessList, sent: str, shown: str
) -> None:
    async with logged.connection() as connection:
        await connection.send(f"GET {sent} HTTP/1.1\r\nHost: test\r\n\r\n".encode("latin1"))
        assert (await connection.answer(has_body=False)).status == 401
    assert lines.values("path") == [shown]


@pytest.mark.gen_test
@pytest.mark.parametrize("log_format", FORMATS)
async def test_no_request_can_log_a_key_or_a_second_line(
    logged: RunningApi, lines: AccessList, log_format: str
) -> None:
    tokens = [*TOKENS.values(), UNKNOWN]
    for token in tokens:
        await logged.get(f"/order/1?key={token}", bearer(token))
        await logged.get(f"/{token}", {"Authorization": token, "X-Request-Id": token})
    assert len(lines.accesses) == 2 * len(tokens)
    written = await written_lines(log_format, *lines.accesses)
    assert written.count("\n") == 2 * len(tokens)
    assert not any(token in written for token in tokens)


async def written_lines(log_format: str, *accesses: Access) -> str:
    """The lines of these requests as they are written."""
    with tempfile.TemporaryFile() as file:
        writer = LogWriter(file.fileno(), log_format=log_format, clock=lambda: 0)
        writer.start()
        lines = AccessLines(log_format, writer, clock=lambda: 1_740_830_400.25)
        for access in accesses:
            lines.add(access)
        await turn_of_the_loop()
        writer.close()
        file.seek(0)
        return file.read().decode()


ACCESS = Access("GET", "/order/5", None, 12, 1.235, "mine", "192.0.2.1", "-", 5)


@pytest.mark.gen_test
@pytest.mark.parametrize("log_format", FORMATS)
@pytest.mark.parametrize("access", [ACCESS, structs.replace(ACCESS, status=200, order_id=None)])
async def test_a_line_has_the_format_of_all_log_lines(log_format: str, access: Access) -> None:
    record = logging.LogRecord("orders.access", logging.INFO, "file.py", 1, "request", (), None)
    record.created = 1_740_830_400.25
    vars(record)["fields"] = structs.asdict(access)
    assert await written_lines(log_format, access) == formatter(log_format).format(record) + "\n"
