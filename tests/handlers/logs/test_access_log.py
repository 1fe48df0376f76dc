"""The access log: the fields of a line, and that every response is logged."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from handlers.logs.access_log import MAX_TARGET_CHARACTERS, AccessLog
from handlers.logs.log_format import formatter
from tests.handlers.conftest import StartApi
from tests.handlers.running_api import JSON, RunningApi, get_text, post_text, turn_of_the_loop
from tests.handlers.security.sample_keys import TOKENS, UNKNOWN, bearer, build_guard
from tests.models.samples import order_text


class Lines(logging.Handler):
    """Collects the access log's records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def fields(self) -> list[dict[str, Any]]:
        return [vars(record)["fields"] for record in self.records]

    def values(self, name: str) -> list[Any]:
        return [fields[name] for fields in self.fields]


@pytest.fixture
def lines() -> Iterator[Lines]:
    logger = logging.getLogger("orders.access")
    handler = Lines()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


@pytest.fixture
def logged(start_api: StartApi, lines: Lines, io_loop: Any) -> RunningApi:
    times_ns = iter(range(0, 10**12, 1_234_567))
    access_log = AccessLog(clock_ns=lambda: next(times_ns))
    opened: RunningApi = io_loop.run_sync(lambda: start_api(guard=build_guard(), access_log=access_log))
    return opened


@pytest.mark.gen_test
async def test_a_line_contains_all_fields_of_request_and_response(logged: RunningApi, lines: Lines) -> None:
    body = b'{"message": "Order processing initiated successfully", "order_id": "12345"}'
    await logged.post(order_text(), JSON | bearer(TOKENS["write"]) | {"X-Request-Id": "mine"})
    assert lines.fields == [
        {
            "method": "POST",
            "path": "/order",
            "status": 202,
            "bytes": len(body),
            "ms": 1.235,
            "request_id": "mine",
            "client": "127.0.0.1",
            "key": "write",
        }
    ]


@pytest.mark.gen_test
async def test_every_response_is_logged_once(logged: RunningApi, lines: Lines) -> None:
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


@pytest.mark.gen_test
async def test_pipelined_requests_are_logged_one_by_one(logged: RunningApi, lines: Lines) -> None:
    key = f"Authorization: Bearer {TOKENS['write']}\r\n"
    async with logged.connection() as connection:
        await connection.send(post_text(order_text(), headers=key) + get_text("/order/12345", headers=key) * 2)
        assert [(await connection.answer()).status for _ in range(3)] == [202, 200, 200]
    assert lines.values("method") == ["POST", "GET", "GET"]


@pytest.mark.gen_test
async def test_a_disconnect_before_the_response_is_logged_without_a_status(logged: RunningApi, lines: Lines) -> None:
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
async def test_a_disconnect_within_the_body_is_logged(logged: RunningApi, lines: Lines, sent: int) -> None:
    async with logged.connection() as connection:
        await connection.send(post_text(order_text(), headers=f"Authorization: Bearer {TOKENS['write']}\r\n")[:sent])
    while not lines.records:
        await turn_of_the_loop()
    assert (lines.values("path"), lines.values("status"), lines.values("key")) == (["/order"], [None], ["write"])


@pytest.mark.gen_test
async def test_a_413_without_reading_the_body_is_logged(logged: RunningApi, lines: Lines) -> None:
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
    logged: RunningApi, lines: Lines, sent: str, shown: str
) -> None:
    async with logged.connection() as connection:
        await connection.send(f"GET {sent} HTTP/1.1\r\nHost: test\r\n\r\n".encode("latin1"))
        assert (await connection.answer(has_body=False)).status == 401
    assert lines.values("path") == [shown]


@pytest.mark.gen_test
@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_no_request_can_log_a_key_or_a_second_line(logged: RunningApi, lines: Lines, log_format: str) -> None:
    tokens = [*TOKENS.values(), UNKNOWN]
    for token in tokens:
        await logged.get(f"/order/1?key={token}", bearer(token))
        await logged.get(f"/{token}", {"Authorization": token, "X-Request-Id": token})
    show = formatter(log_format).format
    assert len(lines.records) == 2 * len(tokens)
    for record in lines.records:
        assert "\n" not in show(record)
        assert not any(token in show(record) for token in tokens)
