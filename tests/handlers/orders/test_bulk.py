"""`POST /orders`: bad orders, interrupted streams, limits, and failures of the storage."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tornado.ioloop import IOLoop
from tornado.testing import bind_unused_port

from handlers.metrics.instruments import Instruments
from handlers.orders.bulk_array import MAX_ARRAY_BYTES
from handlers.orders.bulk_insert import PARSE_STEP_BYTES, BulkInsert
from handlers.orders.bulk_stream import STALL_TIMEOUT_S
from handlers.orders.bulk_view import MAX_DETAIL_CHARACTERS, BulkView
from handlers.transport.connection_stream import Timeouts
from handlers.transport.http_server import BoundedHTTPServer
from models.errors import OrderConflictError
from models.order import Status
from models.parsing.bulk import MAX_ORDER_BYTES, Lines
from models.writes import Insertion, InsertResult, NewOrder, Outcome
from tests.handlers.conftest import StartApi
from tests.handlers.problems.test_problem import assert_is_problem as assert_is_problem_of
from tests.handlers.running_api import (
    JSON,
    Answer,
    Connection,
    RunningApi,
    fake_service,
    get_text,
    post_text,
    turn_of_the_loop,
)
from tests.models.samples import Clock, order_text

NDJSON = {"Content-Type": "application/x-ndjson"}
BOTH = pytest.mark.parametrize("as_lines", [False, True], ids=["array", "lines"])


def text(order_id: int, **changes: str) -> bytes:
    return order_text(order_id=str(order_id), **changes)


def counts(accepted: int, duplicates: int = 0, rejected: Sequence[Mapping[str, object]] = ()) -> dict[str, object]:
    return {
        "accepted": accepted,
        "duplicates": duplicates,
        "rejected": list(rejected),
        "rejected_total": len(rejected),
    }


async def send(api: RunningApi, orders: Sequence[bytes], *, as_lines: bool) -> Answer:
    body = b"\n".join(orders) if as_lines else b"[" + b",".join(orders) + b"]"
    return await api.request("POST", "/orders", body, headers=NDJSON if as_lines else JSON)


def assert_is_problem(answer: Answer, status: int, slug: str) -> None:
    """The same for a response of `/orders`."""
    assert_is_problem_of(answer, status, slug, "/orders")


async def stored(api: RunningApi) -> int:
    answer = await api.get("/metrics")
    total: int = answer.json["total_orders"]
    return total


async def until_stored(api: RunningApi, count: int) -> None:
    while await stored(api) != count:
        await turn_of_the_loop()


def head(*fields: str, method: str = "POST") -> bytes:
    lines = [f"{method} /orders HTTP/1.1", "Host: test", "Content-Type: application/x-ndjson", *fields]
    return "\r\n".join([*lines, "", ""]).encode()


CHUNKED_HEAD = head("Transfer-Encoding: chunked")
LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def lines_of(*order_ids: int) -> bytes:
    return b"".join(text(order_id) + b"\n" for order_id in order_ids)


@BOTH
@pytest.mark.gen_test
async def test_good_orders_are_accepted_and_stored(api: RunningApi, as_lines: bool) -> None:
    answer = await send(api, [text(1), text(2)], as_lines=as_lines)
    assert answer.status == 202
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.body == b'{"accepted":2,"duplicates":0,"rejected":[],"rejected_total":0}'
    order = (await api.get("/order/2")).json
    assert (order["item_ids"], order["status"]) == ([101, 102, 103], "Pending")
    assert api.in_flight.count == 0


@BOTH
@pytest.mark.gen_test
async def test_a_bad_order_is_rejected_alone_and_listed(api: RunningApi, as_lines: bool) -> None:
    await api.post(text(1))
    orders = [
        text(1),
        text(1, user_id="2"),
        text(2),
        text(2, total_amount="99.990"),
        text(2, user_id="2"),
        text(3, item_ids="[]"),
        text(0),
        b"[]",
        text(4, user_id='"?"').replace(b"?", b"\xff"),
        text(5),
    ]
    answer = await send(api, orders, as_lines=as_lines)
    assert answer.status == 202
    view = answer.json
    rejected = [(each["index"], each["order_id"], each["status"]) for each in view["rejected"]]
    assert rejected == [(1, 1, 409), (4, 2, 409), (5, 3, 422), (6, None, 422), (7, None, 422), (8, None, 422)]
    assert (view["accepted"], view["duplicates"], view["rejected_total"]) == (2, 2, 6)
    assert [each["detail"] for each in view["rejected"]] == [
        "another order is already stored under the id 1",
        "another order is already stored under the id 2",
        "#/item_ids must be an array of 1 to 1000 integers",
        "#/order_id must be an integer from 1 to 9223372036854775807",
        "# must be a JSON object",
        "not JSON: not UTF-8: byte 28 can't be decoded",
    ]
    assert await stored(api) == 3


@pytest.mark.gen_test
async def test_a_line_that_is_not_json_is_rejected_alone(api: RunningApi) -> None:
    answer = await send(api, [b"{", text(1), b"nonsense", text(2)[:-1], text(3)], as_lines=True)
    assert answer.status == 202
    assert [each["index"] for each in answer.json["rejected"]] == [0, 2, 3]
    assert all(each["detail"].startswith("not JSON: ") for each in answer.json["rejected"])
    assert answer.json["accepted"] == 2


@pytest.mark.gen_test
async def test_at_most_1000_rejections_are_listed_and_all_are_counted(api: RunningApi) -> None:
    answer = await send(api, [*[text(0)] * 1_500, text(1)], as_lines=True)
    assert answer.status == 202
    assert [each["index"] for each in answer.json["rejected"]] == list(range(1_000))
    assert (answer.json["accepted"], answer.json["rejected_total"]) == (1, 1_500)


@BOTH
@pytest.mark.gen_test
async def test_only_duplicates_are_a_202(api: RunningApi, as_lines: bool) -> None:
    for expected in (counts(3), counts(0, 3)):
        answer = await send(api, [text(1), text(2), text(3)], as_lines=as_lines)
        assert (answer.status, answer.json) == (202, expected)


@BOTH
@pytest.mark.gen_test
async def test_only_bad_orders_are_a_422_with_the_counts(api: RunningApi, as_lines: bool) -> None:
    answer = await send(api, [text(7, user_id="0"), b"1"], as_lines=as_lines)
    assert_is_problem(answer, 422, "nothing-accepted")
    rejected: list[dict[str, object]] = [
        {"index": 0, "order_id": 7, "status": 422, "detail": f"#/user_id must be an integer from 1 to {2**63 - 1}"},
        {"index": 1, "order_id": None, "status": 422, "detail": "# must be a JSON object"},
    ]
    assert answer.json.items() >= counts(0, 0, rejected).items()
    await api.post(text(7))
    answer = await send(api, [text(7, user_id="2")], as_lines=as_lines)
    assert_is_problem(answer, 422, "nothing-accepted")
    assert [each["status"] for each in answer.json["rejected"]] == [409]


@BOTH
@pytest.mark.gen_test
async def test_no_orders_are_a_422(api: RunningApi, as_lines: bool) -> None:
    answer = await send(api, [], as_lines=as_lines)
    assert_is_problem(answer, 422, "nothing-accepted")
    assert answer.json.items() >= counts(0).items()


@pytest.mark.gen_test
async def test_an_array_of_more_than_1000_orders_is_refused_whole(api: RunningApi) -> None:
    assert_is_problem(await send(api, [text(1)] * 1_001, as_lines=False), 422, "invalid-order")
    assert await stored(api) == 0
    answer = await send(api, [text(order_id) for order_id in range(1, 1_001)], as_lines=False)
    assert (answer.status, answer.json) == (202, counts(1_000))


@pytest.mark.gen_test
@pytest.mark.parametrize("body", [b"", b"[", b"[" + text(1), b"[1,]", b"[" * 100_000, lines_of(1, 2)])
async def test_an_array_that_is_not_json_is_a_400(api: RunningApi, body: bytes) -> None:
    assert_is_problem(await api.request("POST", "/orders", body, headers=JSON), 400, "not-json")
    assert await stored(api) == 0


@pytest.mark.gen_test
async def test_json_that_is_not_an_array_is_a_422(api: RunningApi) -> None:
    answer = await api.request("POST", "/orders", text(1), headers=JSON)
    assert_is_problem(answer, 422, "invalid-order")
    assert answer.json["errors"] == [{"pointer": "#", "detail": "must be an array of orders"}]


@pytest.mark.gen_test
@pytest.mark.parametrize("media_type", ["text/plain", "application/jsonl", "multipart/form-data; boundary=x", None])
async def test_another_content_type_is_a_415(api: RunningApi, media_type: str | None) -> None:
    headers = {} if media_type is None else {"Content-Type": media_type}
    answer = await api.request("POST", "/orders", lines_of(1), headers=headers)
    assert_is_problem(answer, 415, "unsupported-media-type")
    assert await stored(api) == 0


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "media_type", ["application/x-ndjson; charset=utf-8", "Application/X-NDJSON", "application/JSON"]
)
async def test_content_types_ignore_case_and_parameters(api: RunningApi, media_type: str) -> None:
    body = b"[" + text(1) + b"]" if media_type.endswith("JSON") and "X-" not in media_type else text(1)
    assert (await api.request("POST", "/orders", body, headers={"Content-Type": media_type})).status == 202


@pytest.mark.gen_test
async def test_an_array_of_more_than_8_mib_is_a_413(api: RunningApi) -> None:
    body = b"[" + text(1) + b"]"
    padding = b" " * (MAX_ARRAY_BYTES - len(body))
    answer = await api.request("POST", "/orders", body + padding + b" ", headers=JSON)
    assert_is_problem(answer, 413, "too-large")
    assert await stored(api) == 0
    assert (await api.request("POST", "/orders", body + padding, headers=JSON)).json == counts(1)


@pytest.mark.gen_test
async def test_blank_lines_are_skipped_but_count_for_the_index(api: RunningApi) -> None:
    body = b"\r\n" + text(1) + b"\r\n\r\n \t\r\n" + text(0) + b"\r\n" + text(2)
    answer = await api.request("POST", "/orders", body, headers=NDJSON)
    assert answer.status == 202
    assert (answer.json["accepted"], [each["index"] for each in answer.json["rejected"]]) == (2, [4])


@pytest.mark.gen_test
async def test_a_line_over_the_limit_is_rejected_alone(api: RunningApi) -> None:
    answer = await send(api, [text(1), text(2) + b" " * 3 * MAX_ORDER_BYTES, text(3)], as_lines=True)
    detail = f"# must be at most {MAX_ORDER_BYTES} bytes of JSON"
    assert answer.json == counts(2, 0, [{"index": 1, "order_id": None, "status": 422, "detail": detail}])


@pytest.mark.gen_test
@pytest.mark.parametrize("step", [1, 7, 1_000, 100_000])
async def test_lines_may_be_split_into_chunks_anywhere(api: RunningApi, step: int) -> None:
    body = b"\n".join([text(1), text(1), b"\xff", text(2, user_id="0"), text(3)])
    chunks = [chunk(body[begin : begin + step]) for begin in range(0, len(body), step)]
    async with api.connection() as connection:
        await connection.send(CHUNKED_HEAD + b"".join(chunks) + LAST_CHUNK)
        answer = await connection.answer()
        assert answer.status == 202
        assert (answer.json["accepted"], answer.json["duplicates"]) == (2, 1)
        assert [each["index"] for each in answer.json["rejected"]] == [2, 3]
        # The connection can still be used.
        await connection.send(post_text(text(4)))
        assert (await connection.answer()).status == 202
        await connection.send(head(f"Content-Length: {len(body)}") + body)
        assert (await connection.answer()).json["duplicates"] == 3


@pytest.mark.gen_test
async def test_expect_100_continue_is_answered(api: RunningApi) -> None:
    async with api.connection() as connection:
        await connection.send(head(f"Content-Length: {len(lines_of(1))}", "Expect: 100-continue"))
        assert (await connection.answer(has_body=False)).status == 100
        await connection.send(lines_of(1))
        assert (await connection.answer()).json == counts(1)


@pytest.mark.gen_test
async def test_lines_are_stored_while_the_stream_continues(api: RunningApi) -> None:
    async with api.connection() as connection:
        await connection.send(CHUNKED_HEAD)
        for order_id in (1, 2, 3):
            await connection.send(chunk(lines_of(order_id)))
            await until_stored(api, order_id)
        await connection.send(LAST_CHUNK)
        assert (await connection.answer()).json == counts(3)


@pytest.mark.gen_test
async def test_orders_of_a_lost_connection_stay_and_can_be_sent_again(
    api: RunningApi,
) -> None:
    async with api.connection() as connection:
        await connection.send(CHUNKED_HEAD + chunk(lines_of(1, 2) + text(3)))
        await until_stored(api, 2)
        assert api.in_flight.count == 1
    await api.until_in_flight(0)
    answer = await send(api, [text(order_id) for order_id in (1, 2, 3, 4)], as_lines=True)
    assert (answer.status, answer.json) == (202, counts(2, 2))


@pytest.mark.gen_test
async def test_a_disconnect_while_orders_wait_releases_their_slots(api: RunningApi) -> None:
    with api.blocked():
        async with api.connection() as connection:
            await connection.send(CHUNKED_HEAD + chunk(lines_of(1)) + chunk(lines_of(2)) + chunk(lines_of(3)))
            await api.until_in_flight(1)
    await api.until_in_flight(0)
    for order_id in (4, 5, 6):
        assert (await send(api, [text(order_id)], as_lines=True)).json == counts(1)


@pytest.mark.gen_test
@pytest.mark.parametrize("broken", [b"no length\r\n", b"5\r\n1234567"])
async def test_orders_before_a_framing_error_stay_stored(api: RunningApi, broken: bytes) -> None:
    async with api.connection() as connection:
        await connection.send(CHUNKED_HEAD + chunk(lines_of(1, 2)))
        await until_stored(api, 2)
        await connection.send(broken)
        await api.until_in_flight(0)
    assert (await send(api, [text(1), text(3)], as_lines=True)).json == counts(1, 1)


class LoopTime:
    """Advances the event loop's time, so that its timers become due.

    Replaces the loop's public method `time`, because asyncio accepts no clock.
    """

    def __init__(self, io_loop: IOLoop, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ahead_s = 0.0
        time = asyncio_loop_of(io_loop).time
        monkeypatch.setattr(asyncio_loop_of(io_loop), "time", lambda: time() + self._ahead_s)

    async def advance(self, seconds: float) -> None:
        self._ahead_s += seconds
        # One turn for the timers, and others for what they start.
        for _ in range(3):
            await turn_of_the_loop()


def asyncio_loop_of(io_loop: IOLoop) -> asyncio.AbstractEventLoop:
    loop: asyncio.AbstractEventLoop = cast(Any, io_loop).asyncio_loop
    return loop


@pytest.fixture
def loop_time(io_loop: IOLoop, monkeypatch: pytest.MonkeyPatch) -> LoopTime:
    return LoopTime(io_loop, monkeypatch)


# The time limit of these tests uses the same time.
with_loop_time = pytest.mark.gen_test(timeout=5 * STALL_TIMEOUT_S)


@with_loop_time
@pytest.mark.parametrize("begin", [b"", chunk(lines_of(1) + text(2)), chunk(lines_of(1))[:-1]])
async def test_a_stalled_stream_is_closed(api: RunningApi, loop_time: LoopTime, begin: bytes) -> None:
    async with api.connection() as connection:
        await connection.send(CHUNKED_HEAD + begin)
        await api.until_in_flight(1)
        await until_stored(api, int(begin != b""))
        await loop_time.advance(STALL_TIMEOUT_S)
        assert await connection.is_closed_by_server()
    await api.until_in_flight(0)
    assert await stored(api) == int(begin != b"")


@with_loop_time
async def test_a_slow_stream_is_not_closed(api: RunningApi, loop_time: LoopTime) -> None:
    async with api.connection() as connection:
        await connection.send(CHUNKED_HEAD)
        for order_id in range(1, 6):
            await connection.send(chunk(lines_of(order_id)))
            await until_stored(api, order_id)
            await loop_time.advance(0.9 * STALL_TIMEOUT_S)
        await connection.send(LAST_CHUNK)
        assert (await connection.answer()).json == counts(5)


@with_loop_time
async def test_waiting_for_the_disk_is_not_a_stall(api: RunningApi, loop_time: LoopTime) -> None:
    items = str([101] * 500)
    # More than the server reads before the first group is on disk.
    body = b"\n".join(text(order_id, item_ids=items) for order_id in range(1, 201))
    assert len(body) > 4 * 65_536
    async with api.connection() as connection:
        with api.blocked():
            await connection.send(head(f"Content-Length: {len(body)}") + body)
            await api.until_in_flight(1)
            for _ in range(3):
                await loop_time.advance(STALL_TIMEOUT_S)
        assert (await connection.answer()).json == counts(200)


@pytest.mark.gen_test
async def test_the_body_timeout_does_not_apply_to_a_stream(api: RunningApi) -> None:
    now_s = 1_000.0
    server = BoundedHTTPServer(api.router, timeouts=Timeouts(body_s=30), clock=lambda: now_s)
    listener, port = bind_unused_port()
    server.add_socket(listener)
    connection = Connection(*await asyncio.open_connection("127.0.0.1", port))
    await connection.send(CHUNKED_HEAD)
    for order_id in range(1, 4):
        await connection.send(chunk(lines_of(order_id)))
        await until_stored(api, order_id)
        await server.close_timed_out()
        now_s += 25
    await server.close_timed_out()
    await connection.send(LAST_CHUNK)
    assert (await connection.answer()).json == counts(3)
    await connection.close()
    server.stop()
    await server.close_all_connections()


async def begin_stream(api: RunningApi, connection: Connection, *, orders: int = 3) -> None:
    """Sends the head and some orders. Returns when they are stored."""
    await connection.send(CHUNKED_HEAD + chunk(lines_of(*range(1, orders + 1)) + text(0) + b"\n"))
    await until_stored(api, orders)


def assert_partial(answer: Answer, slug: str, *, accepted: int) -> None:
    assert_is_problem(answer, 503, slug)
    assert int(answer.headers["Retry-After"]) >= 1
    assert (answer.json["accepted"], answer.json["duplicates"], answer.json["rejected_total"]) == (accepted, 0, 1)
    assert "again" in answer.json["detail"]


@pytest.mark.gen_test
async def test_a_storage_failure_within_a_stream_is_a_503_with_the_counts(api: RunningApi) -> None:
    async with api.connection() as connection:
        await begin_stream(api, connection)
        await api.pragma("query_only", 1)
        await connection.send(chunk(lines_of(4, 5)) + chunk(lines_of(6)) + LAST_CHUNK)
        assert_partial(await connection.answer(), "storage-unavailable", accepted=3)
        assert await stored(api) == 3
        await api.pragma("query_only", 0)
        body = lines_of(*range(1, 7))
        await connection.send(head(f"Content-Length: {len(body)}") + body)
        assert (await connection.answer()).json == counts(3, 3)


@BOTH
@pytest.mark.gen_test
async def test_a_locked_database_is_a_503_and_nothing_is_stored(
    api: RunningApi, tmp_path: Path, as_lines: bool
) -> None:
    other = sqlite3.connect(tmp_path / "orders.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    answer = await send(api, [text(0), text(1), text(2)], as_lines=as_lines)
    assert_partial(answer, "storage-busy", accepted=0)
    other.execute("ROLLBACK")
    other.close()
    answer = await send(api, [text(1), text(2)], as_lines=as_lines)
    assert (answer.status, answer.json) == (202, counts(2))


@pytest.mark.gen_test
async def test_a_refused_stream_is_answered_before_its_end(api: RunningApi) -> None:
    async with api.connection() as connection:
        await begin_stream(api, connection)
        api.in_flight.draining = True
        await connection.send(chunk(lines_of(4)))
        assert_partial(await connection.answer(), "stopping", accepted=3)
        await api.until_in_flight(0)
        # The rest of the body is discarded, and then the connection can be used again.
        api.in_flight.draining = False
        for _ in range(20):
            await connection.send(chunk(b"x" * 1_000_000))
        await connection.send(LAST_CHUNK + get_text("/order/4"))
        assert (await connection.answer()).status == 404


@with_loop_time
async def test_a_client_that_keeps_sending_after_the_response_is_disconnected(
    api: RunningApi, loop_time: LoopTime
) -> None:
    async with api.connection() as connection:
        await begin_stream(api, connection)
        api.in_flight.draining = True
        await connection.send(chunk(lines_of(4)))
        assert (await connection.answer()).status == 503
        await connection.send(chunk(lines_of(5)))
        await loop_time.advance(0.9 * STALL_TIMEOUT_S)
        await connection.send(chunk(lines_of(6)))
        await loop_time.advance(0.2 * STALL_TIMEOUT_S)
        assert await connection.is_closed_by_server()
    assert api.in_flight.count == 0


@pytest.mark.gen_test
async def test_a_stream_without_further_lines_is_accepted_while_draining(api: RunningApi) -> None:
    async with api.connection() as connection:
        await begin_stream(api, connection)
        api.in_flight.draining = True
        await connection.send(LAST_CHUNK)
        answer = await connection.answer()
        assert (answer.status, answer.json["accepted"], answer.headers["Connection"]) == (202, 3, "close")


@asynccontextmanager
async def small_backlog(path: Path, clock: Clock) -> AsyncIterator[RunningApi]:
    api = RunningApi(path, clock)
    api.limits = api.limits._replace(max_backlog=3)
    await api.open()
    try:
        yield api
    finally:
        await api.close()


async def process_all(api: RunningApi) -> None:
    for order in await api.finish_and_claim([], 100):
        await api.finish_and_claim([Outcome(order.sequence, order.claims, Status.COMPLETED)], 0)


@pytest.mark.gen_test
async def test_a_full_backlog_within_a_stream_is_a_503_with_the_counts(tmp_path: Path, clock: Clock) -> None:
    async with small_backlog(tmp_path / "orders.db", clock) as api, api.connection() as connection:
        await begin_stream(api, connection)
        await connection.send(chunk(lines_of(4)) + chunk(lines_of(5)) + LAST_CHUNK)
        assert_partial(await connection.answer(), "overloaded", accepted=3)
        assert_is_problem(await send(api, [text(4)], as_lines=False), 503, "overloaded")
        assert await stored(api) == 3
        await process_all(api)
        assert (await send(api, [text(3), text(4)], as_lines=False)).json == counts(1, 1)


@pytest.mark.gen_test
async def test_a_full_backlog_refuses_single_orders_until_it_shrinks(tmp_path: Path, clock: Clock) -> None:
    async with small_backlog(tmp_path / "orders.db", clock) as api:
        for order_id in (1, 2, 3):
            assert (await api.post(text(order_id))).status == 202
        answer = await api.post(text(4))
        assert_is_problem_of(answer, 503, "overloaded")
        assert int(answer.headers["Retry-After"]) >= 1
        assert (await api.get("/order/4")).status == 404
        [claimed] = await api.finish_and_claim([], 1)
        assert (await api.post(text(4))).status == 202
        assert (await api.post(text(5))).status == 503
        # The order is Pending again, which fills the backlog.
        await api.finish_and_claim([Outcome(claimed.sequence, claimed.claims, Status.PENDING)], 0)
        await process_all(api)
        assert (await api.post(text(5))).status == 202


@pytest.mark.gen_test
async def test_a_single_order_does_not_wait_for_the_end_of_a_stream(api: RunningApi) -> None:
    async with api.connection() as connection:
        await begin_stream(api, connection)
        with api.blocked():
            await connection.send(chunk(lines_of(4)) + chunk(lines_of(5)))
            alone = asyncio.ensure_future(api.post(text(6)))
            await api.until_in_flight(2)
        assert (await alone).status == 202
        await connection.send(LAST_CHUNK)
        assert (await connection.answer()).json["accepted"] == 5


class FakeStore:
    """Stores groups of orders in memory, with the results of the real store."""

    def __init__(self) -> None:
        self._stored: dict[int, NewOrder] = {}

    async def insert_many(self, orders: list[NewOrder]) -> list[InsertResult]:
        await asyncio.sleep(0)
        return [self._insert(order) for order in orders]

    def _insert(self, order: NewOrder) -> InsertResult:
        first = self._stored.setdefault(order.order_id, order)
        if first is order:
            return Insertion.ACCEPTED
        return Insertion.REPLAYED if first == order else OrderConflictError(order.order_id)


async def insert_stream(parts: Sequence[bytes]) -> BulkView:
    bulk = BulkInsert(
        service=fake_service(insert_many=FakeStore().insert_many),
        group_slots=asyncio.Semaphore(2),
        instruments=Instruments(clock=Clock()),
    )
    lines = Lines()
    for part in parts:
        await bulk.add(lines.add(part))
    await bulk.add(lines.end())
    return await bulk.finish()


PIECES = st.sampled_from(
    [text(1), text(1, user_id="2"), text(2), text(2, user_id="0"), text(3), b"\n", b"\n", b"\r\n", b"\xff", b"\n\n{}\n"]
)


@settings(max_examples=50, deadline=None)
@given(pieces=st.lists(PIECES, max_size=30), cuts=st.lists(st.integers(0, 2_000), max_size=30))
def test_the_result_of_a_stream_does_not_depend_on_its_chunks(pieces: list[bytes], cuts: list[int]) -> None:
    whole = b"".join(pieces)
    ends = sorted({0, len(whole), *(min(cut, len(whole)) for cut in cuts)})
    parts = [whole[begin:end] for begin, end in pairwise(ends)]
    assert asyncio.run(insert_stream(parts)) == asyncio.run(insert_stream([whole]))


@pytest.mark.gen_test
async def test_after_a_storage_error_no_further_group_is_written() -> None:
    begun: list[list[int]] = []
    results: list[asyncio.Future[list[Any]]] = [asyncio.get_running_loop().create_future() for _ in range(2)]

    async def insert_many(orders: list[NewOrder]) -> list[InsertResult]:
        begun.append([order.order_id for order in orders])
        return await results[len(begun) - 1]

    bulk = BulkInsert(
        service=fake_service(insert_many=insert_many),
        group_slots=asyncio.Semaphore(2),
        instruments=Instruments(clock=Clock()),
    )
    await bulk.add([(0, text(1))])
    adding = asyncio.ensure_future(bulk.add([(1, text(2))]))
    while len(begun) < 2:
        await turn_of_the_loop()
    results[0].set_exception(OSError("broken"))
    with pytest.raises(OSError, match="broken"):
        await adding
    with pytest.raises(OSError, match="broken"):
        await bulk.add([(2, text(3))])
    results[1].set_result([Insertion.ACCEPTED])
    with pytest.raises(OSError, match="broken"):
        await bulk.finish()
    assert (begun, bulk.view.accepted) == ([[1], [2]], 1)


@pytest.mark.gen_test
async def test_the_detail_of_a_rejection_has_a_maximum_length(api: RunningApi) -> None:
    answer = await send(api, [text(1), text(2, **{"é" * 20_000: "1"})], as_lines=True)
    [rejection] = answer.json["rejected"]
    assert len(rejection["detail"]) == MAX_DETAIL_CHARACTERS


@pytest.mark.gen_test
async def test_parsing_long_orders_does_not_block_the_event_loop() -> None:
    store = FakeStore()
    bulk = BulkInsert(
        service=fake_service(insert_many=store.insert_many),
        group_slots=asyncio.Semaphore(2),
        instruments=Instruments(clock=Clock()),
    )
    long = text(1, metadata='{"a": "%s"}' % ("x" * 16_000))
    adding = asyncio.ensure_future(bulk.add([(number, long) for number in range(100)]))
    turns = 0
    while not adding.done():
        await turn_of_the_loop()
        turns += 1
    assert turns >= 100 * len(long) // PARSE_STEP_BYTES // 3
    assert (await bulk.finish()).duplicates == 99


@pytest.mark.gen_test
async def test_all_arrays_together_have_a_limited_buffer(start_api: StartApi) -> None:
    api = await start_api(max_buffered_bytes=1_000)
    for body, status in ((b"[" + text(1) + b"]", 202), (b"[{", 400), (b"[" + b" " * 1_000 + b"]", 503)):
        assert (await api.request("POST", "/orders", body, headers=JSON)).status == status
    async with api.connection() as connection:
        # Only received bytes count, not the announced length.
        await connection.send(head("Content-Length: 2000").replace(b"x-ndjson", b"json"))
        assert (await send(api, [text(2)], as_lines=False)).status == 202
        await connection.send(b"[" + b" " * 949)
        while (answer := await send(api, [text(3)], as_lines=False)).status == 202:
            await turn_of_the_loop()
        assert_is_problem_of(answer, 503, "overloaded", "/orders")
    while (await send(api, [text(4)], as_lines=False)).status == 503:
        await turn_of_the_loop()


@pytest.mark.gen_test
async def test_draining_answers_a_silent_stream_with_the_counts(api: RunningApi) -> None:
    async with api.connection() as connection:
        await begin_stream(api, connection, orders=3)
        await api.in_flight.drain(5)
        assert_partial(await connection.answer(), "stopping", accepted=3)


@pytest.mark.gen_test
async def test_a_huge_exponent_is_rejected_quickly(api: RunningApi) -> None:
    huge = [text(order_id, total_amount=f"1e{10**order_id}") for order_id in range(1, 19)]
    for as_lines in (True, False):
        assert (await send(api, [*huge, text(99)], as_lines=as_lines)).json["rejected_total"] == len(huge)


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/order", "/orders"])
async def test_an_encoded_body_is_a_415(api: RunningApi, path: str) -> None:
    answer = await api.request("POST", path, text(1), headers=JSON | {"Content-Encoding": "gzip"})
    assert_is_problem_of(answer, 415, "unsupported-media-type", path)
    same = JSON | {"Content-Encoding": "identity"}
    body = text(1) if path == "/order" else b"[" + text(1) + b"]"
    assert (await api.request("POST", path, body, headers=same)).status == 202
