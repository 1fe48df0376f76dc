"""`GET /orders/events`: every change of an order's status, as Server-Sent Events."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from handlers.sse.connection import STALL_TIMEOUT_S
from handlers.sse.order_events import HEARTBEAT_S
from models.changes.order_changes import OrderChange
from models.order import Status
from tests.cases import cases
from tests.handlers.event_stream import Stream, open_stream, silent_reader, unsent_bytes
from tests.handlers.processing import api_with_limits, claim, end, process
from tests.handlers.running_api import JSON, RunningApi, get_text, turn_of_the_loop
from tests.models.samples import order_text

EVENTS = "/orders/events"
LINES = {"Content-Type": "application/x-ndjson"}


@asynccontextmanager
async def stream(
    api: RunningApi, query: str = "", *, last_id: str | None = None, version: str = "1.1", headers: str = ""
) -> AsyncIterator[Stream]:
    """Opens a stream, and reads its headers and its `retry` field."""
    headers += "" if last_id is None else f"Last-Event-ID: {last_id}\r\n"
    async with open_stream(api.port, get_text(EVENTS + query, version=version, headers=headers)) as reader:
        yield reader


def publish(api: RunningApi, order_ids: Sequence[int], *, error: str | None = None) -> None:
    api.monotonic_s += 1
    api.order_events.publish(
        [OrderChange(order_id, order_id % 2 + 1, Status.PENDING, 0, error) for order_id in order_ids]
    )


async def flushed(api: RunningApi) -> None:
    """Returns when the published changes have been written to the streams."""
    api.monotonic_s += 1
    for _ in range(3):
        await turn_of_the_loop()


def reader_count(api: RunningApi) -> int:
    return len(api.order_events.readers)


async def until_readers(api: RunningApi, count: int) -> None:
    while reader_count(api) != count:
        await turn_of_the_loop()


async def open_silent_reader(api: RunningApi, query: str = "", last_id: str = "") -> socket.socket:
    """The socket of a client that requests events and never reads them."""
    headers = f"Last-Event-ID: {last_id}\r\n" if last_id else ""
    return await silent_reader(api.port, get_text(EVENTS + query, headers=headers))


@pytest.mark.gen_test
async def test_a_stream_begins_with_its_headers_and_an_event_id(api: RunningApi) -> None:
    async with stream(api, headers="X-Request-Id: mine\r\n") as reader:
        assert reader.headers["Content-Type"] == "text/event-stream"
        assert reader.headers["Cache-Control"] == "no-store"
        assert reader.headers["X-Request-Id"] == "mine"
        assert reader.headers["Date"].endswith(" GMT")
        assert "Content-Length" not in reader.headers
        assert "Server" not in reader.headers
        assert (reader.parser.last_id, reader.parser.retry_ms) == ("abc-0", 1_000)


@pytest.mark.gen_test
async def test_every_change_of_status_is_sent_in_order(api: RunningApi) -> None:
    async with stream(api) as reader:
        await api.post(order_text(user_id="7"))
        await end(api, await claim(api), Status.PENDING, "later", due_us=0)
        await end(api, await claim(api), Status.PENDING)
        await process(api, Status.FAILED, "no")
        await api.request("POST", "/order/12345/retry")
        await process(api)
        messages = await reader.take(10)
        assert {message.type for message in messages} == {"order"}
        assert [message.last_id for message in messages] == [f"abc-{number}" for number in range(1, 11)]
        assert {(message.json["order_id"], message.json["user_id"]) for message in messages} == {(12345, 7)}
        fields = [(each.json["status"], each.json["attempts"], each.json.get("error")) for each in messages]
        assert fields == [
            ("Pending", 0, None),
            ("Processing", 1, None),
            ("Pending", 1, "later"),
            ("Processing", 2, "later"),
            ("Pending", 1, "later"),
            ("Processing", 2, "later"),
            ("Failed", 2, "no"),
            ("Pending", 0, None),
            ("Processing", 1, None),
            ("Completed", 1, None),
        ]


@pytest.mark.gen_test
async def test_cancels_and_retries_are_sent(api: RunningApi) -> None:
    async with stream(api) as reader:
        for order_id in ("1", "2", "3"):
            await api.post(order_text(order_id=order_id))
        await api.request("POST", "/order/2/cancel")
        await api.request("POST", "/order/2/cancel")
        await process(api, Status.FAILED, "no")
        await api.request("POST", "/orders/retry?status=Failed")
        assert await reader.statuses(10) == [
            (1, "Pending"),
            (2, "Pending"),
            (3, "Pending"),
            (2, "Cancelled"),
            (1, "Processing"),
            (3, "Processing"),
            (1, "Failed"),
            (3, "Failed"),
            (1, "Pending"),
            (3, "Pending"),
        ]


@pytest.mark.gen_test
@pytest.mark.parametrize("headers", [JSON, LINES])
async def test_each_order_of_a_bulk_request_has_its_own_event(api: RunningApi, headers: dict[str, str]) -> None:
    await api.post(order_text(order_id="2"))
    orders: list[Any] = [json.loads(order_text(order_id=order_id)) for order_id in ("1", "2", "3", "1")]
    orders.append({"order_id": 4})
    async with stream(api) as reader:
        body = json.dumps(orders) if headers is JSON else "\n".join(map(json.dumps, orders))
        assert (await api.request("POST", "/orders", body.encode(), headers)).status == 202
        assert await reader.statuses(2) == [(1, "Pending"), (3, "Pending")]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [1, 2, 3, 4, 5, 6]),
        ("?order_id=3", [3]),
        ("?user_id=1", [2, 4, 6]),
        ("?order_id=4&user_id=1", [4]),
        ("?user_id=2&order_id=4", []),
    ],
)
async def test_a_filter_selects_the_matching_events(api: RunningApi, query: str, expected: list[int]) -> None:
    async with stream(api, query) as reader, stream(api) as other:
        publish(api, [1, 2, 3])
        await flushed(api)
        publish(api, [4, 5, 6])
        await other.take(6)
        api.order_events.close()
        assert [message.json["order_id"] for message in await reader.rest()] == expected


@pytest.mark.gen_test
async def test_a_reconnected_reader_gets_exactly_the_missed_events(api: RunningApi) -> None:
    async with stream(api) as reader:
        publish(api, range(1, 11))
        ids = [message.last_id for message in await reader.take(10)]
    for place, last_id in enumerate(ids):
        async with stream(api, last_id=last_id) as reader, stream(api, "?user_id=1", last_id=last_id) as some:
            publish(api, [100])
            missed = [*range(place + 2, 11), *[100] * (place + 1)]
            assert [each.json["order_id"] for each in await reader.take(len(missed))] == missed
            wanted = [order_id for order_id in missed if order_id % 2 == 0]
            assert [each.json["order_id"] for each in await some.take(len(wanted))] == wanted


@pytest.mark.gen_test
async def test_a_reader_can_resume_from_before_the_first_event(api: RunningApi) -> None:
    async with stream(api) as reader:
        first_id = reader.parser.last_id
    publish(api, [1, 2])
    await flushed(api)
    async with stream(api, last_id=first_id) as reader:
        assert await reader.statuses(2) == [(1, "Pending"), (2, "Pending")]
    async with stream(api) as reader:
        publish(api, [3])
        assert [message.last_id for message in await reader.take(1)] == ["abc-3"]


@pytest.mark.gen_test
@pytest.mark.parametrize("last_id", ["abd-1", "abc-99", "abc-1", "1", "x", "é", "abc-" + "9" * 400])
async def test_a_reader_that_cannot_resume_gets_a_reset_event(tmp_path: Path, last_id: str) -> None:
    async with api_with_limits(tmp_path, max_events=5) as api:
        async with stream(api):
            publish(api, range(1, 21))
            await flushed(api)
        async with stream(api, "?user_id=1", last_id=last_id) as reader:
            publish(api, [21, 22])
            reset, message = await reader.take(2)
            assert (reset.type, reset.json, reset.last_id) == ("reset", {}, "abc-20")
            assert (message.json["order_id"], message.last_id) == (22, "abc-22")


@pytest.mark.gen_test
async def test_an_empty_last_event_id_is_ignored(api: RunningApi) -> None:
    async with stream(api, headers="Last-Event-ID:\r\n") as reader:
        publish(api, [1])
        assert (await reader.next()).type == "order"


@pytest.mark.gen_test
async def test_an_idle_stream_gets_a_heartbeat_every_15_seconds(api: RunningApi) -> None:
    async with stream(api) as reader, stream(api, "?order_id=1") as other:
        api.monotonic_s += HEARTBEAT_S - 2
        api.order_events.check_readers()
        publish(api, [5])
        await reader.next()
        assert (reader.parser.comments, other.parser.comments) == ([], [])
        api.monotonic_s += 2
        api.order_events.check_readers()
        # The heartbeat has an id, so that events which the filter excludes do not count as missed.
        await other.until_comments(1)
        assert (other.parser.last_id, reader.parser.comments) == ("abc-1", [])
        api.monotonic_s += HEARTBEAT_S
        api.order_events.check_readers()
        await asyncio.gather(reader.until_comments(1), other.until_comments(2))
        api.order_events.check_readers()
        publish(api, [1])
        assert (await other.next()).json["order_id"] == 1
        assert (reader.parser.comments, other.parser.comments) == ([""], [""] * 2)


@pytest.mark.gen_test
async def test_changes_in_quick_succession_are_sent_in_order(api: RunningApi) -> None:
    async with stream(api) as reader:
        for order_id in range(1, 51):
            api.order_events.publish([OrderChange(order_id, 1, Status.PENDING)])
            await turn_of_the_loop()
        assert await reader.statuses(50) == [(order_id, "Pending") for order_id in range(1, 51)]


@pytest.mark.gen_test
async def test_a_reader_that_misses_events_is_disconnected_with_little_buffered(tmp_path: Path) -> None:
    async with api_with_limits(tmp_path, max_events=500) as api, stream(api) as reader:
        silent = await open_silent_reader(api)
        await until_readers(api, 2)
        stalled = next(each for each in api.order_events.readers if not each.is_busy)
        numbers = iter(range(1, 10**9))
        while not any(each.has_missed_events for each in api.order_events.readers):
            publish(api, [next(numbers) for _ in range(500)], error="x" * 200)
            assert len(await reader.take(500)) == 500
            for each in api.order_events.readers:
                assert unsent_bytes(each) < 500 * 400
        assert stalled in api.order_events.readers
        api.order_events.check_readers()
        await until_readers(api, 1)
        publish(api, [next(numbers)])
        await reader.next()
        silent.close()


@pytest.mark.gen_test
async def test_a_stalled_reader_is_disconnected(api: RunningApi) -> None:
    async with stream(api):
        publish(api, range(1, 1_001), error="é" * 200)
        await flushed(api)
    silent = await open_silent_reader(api, last_id="abc-0")
    await until_readers(api, 1)
    while not api.order_events.readers[0].is_busy:
        publish(api, range(1, 1_001), error="é" * 200)
        await flushed(api)
    api.monotonic_s += STALL_TIMEOUT_S - 1
    api.order_events.check_readers()
    assert reader_count(api) == 1
    api.monotonic_s += 1
    api.order_events.check_readers()
    assert reader_count(api) == 0
    silent.close()


@pytest.mark.gen_test
async def test_a_slow_reader_that_catches_up_misses_nothing(tmp_path: Path) -> None:
    async with api_with_limits(tmp_path, max_events=20_000) as api, stream(api) as reader:
        for first in range(0, 20_000, 1_000):
            publish(api, range(first, first + 1_000), error="x" * 150)
            await flushed(api)
        assert any(each.is_busy for each in api.order_events.readers)
        assert [each.json["order_id"] for each in await reader.take(20_000)] == list(range(20_000))


@pytest.mark.gen_test
async def test_a_disconnected_reader_is_removed(api: RunningApi) -> None:
    async with stream(api), stream(api, "?order_id=1"):
        assert reader_count(api) == 2
    await until_readers(api, 0)
    publish(api, [1])
    await flushed(api)


@pytest.mark.gen_test
@pytest.mark.parametrize("reset", [False, True])
async def test_a_reader_that_disconnects_before_its_response_is_removed(tmp_path: Path, reset: bool) -> None:
    async with api_with_limits(tmp_path, max_event_readers=5) as api:
        for _ in range(20):
            silent = await open_silent_reader(api)
            if reset:
                silent.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            silent.close()
            await api.get("/livez")
            await until_readers(api, 0)
        async with stream(api) as reader:
            publish(api, [1])
            await reader.next()


@pytest.mark.gen_test
async def test_a_reader_over_the_limit_is_rejected(tmp_path: Path) -> None:
    async with api_with_limits(tmp_path, max_event_readers=2) as api:
        async with stream(api), stream(api, "?order_id=1"):
            answer = await api.get(EVENTS)
            assert (answer.status, answer.json["type"]) == (503, "/problems/overloaded")
            assert answer.headers["Retry-After"] == "1"
        await until_readers(api, 0)
        async with stream(api):
            pass


@pytest.mark.gen_test
@cases(
    ("query", "parameters"),
    [
        ("order_id=0", ["order_id"]),
        ("order_id=x&user_id=-1", ["order_id", "user_id"]),
        ("user_id=", ["user_id"]),
        ("user_id=1&user_id=1", ["user_id"]),
        ("user_id=9223372036854775808", ["user_id"]),
        ("status=Failed", ["status"]),
        ("order=1", ["order"]),
    ],
)
async def test_an_unknown_or_invalid_parameter_is_a_422(api: RunningApi, query: str, parameters: list[str]) -> None:
    answer = await api.get(f"{EVENTS}?{query}")
    assert (answer.status, answer.json["type"]) == (422, "/problems/invalid-parameter")
    assert [error["parameter"] for error in answer.json["errors"]] == parameters
    assert reader_count(api) == 0


@pytest.mark.gen_test
@cases("method", ["HEAD", "POST", "DELETE", "OPTIONS"])
async def test_only_get_is_allowed(api: RunningApi, method: str) -> None:
    answer = await api.request(method, EVENTS)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET")


@pytest.mark.gen_test
@pytest.mark.parametrize("headers", ["", "Connection: keep-alive\r\n"])
async def test_an_http_1_0_stream_ends_with_the_connection(api: RunningApi, headers: str) -> None:
    async with stream(api, version="1.0", headers=headers) as reader:
        assert "Transfer-Encoding" not in reader.headers
        assert reader.headers["Connection"] == "close"
        publish(api, [1])
        assert (await reader.next()).json["order_id"] == 1
        publish(api, [2])
        api.order_events.close()
        assert [message.json["order_id"] for message in await reader.rest()] == [2]


@pytest.mark.gen_test
async def test_closing_sends_the_last_changes_and_ends_every_stream(api: RunningApi) -> None:
    async with stream(api) as reader, stream(api, "?user_id=1") as other:
        publish(api, [1, 2])
        api.order_events.close()
        api.order_events.close()
        assert [message.json["order_id"] for message in await reader.rest()] == [1, 2]
        assert [message.json["order_id"] for message in await other.rest()] == [2]
    assert reader_count(api) == 0
    answer = await api.get(EVENTS)
    assert (answer.status, answer.json["type"]) == (503, "/problems/stopping")


@pytest.mark.gen_test
async def test_a_stream_may_follow_other_requests_on_a_connection(api: RunningApi) -> None:
    async with api.connection() as connection:
        await connection.send(get_text("/livez") + get_text("/order/1"))
        assert [(await connection.answer()).status for _ in range(2)] == [200, 404]
        reader = Stream(connection.reader, connection.writer)
        await reader.open(get_text(EVENTS))
        publish(api, [1])
        assert (await reader.next()).json["order_id"] == 1


@pytest.mark.gen_test
async def test_no_changes_are_recorded_before_the_first_reader(api: RunningApi) -> None:
    assert not api.order_events.wants_changes
    publish(api, range(1, 11))
    async with stream(api) as reader:
        assert api.order_events.wants_changes
        assert reader.parser.last_id == "abc-0"
        publish(api, [11])
        message = await reader.next()
        assert (message.last_id, message.json["order_id"]) == ("abc-1", 11)
    assert api.order_events.wants_changes
