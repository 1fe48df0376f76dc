"""`GET /metrics/events`: history and metrics as Server-Sent Events."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from handlers.metrics.point import Point
from handlers.sse.connection import STALL_TIMEOUT_S, SseConnection
from models.database.health import StorageStatus, Work
from models.order import Totals
from tests.handlers.conftest import StartApi
from tests.handlers.event_stream import Stream, open_stream, silent_reader, unsent_bytes
from tests.handlers.processing import api_with_limits
from tests.handlers.running_api import RunningApi, get_text, turn_of_the_loop
from tests.models.samples import SECOND_US
from tests.sse import Message

EVENTS = "/metrics/events"


@asynccontextmanager
async def stream(api: RunningApi, *, version: str = "1.1", headers: str = "") -> AsyncIterator[Stream]:
    async with open_stream(api.port, get_text(EVENTS, version=version, headers=headers)) as reader:
        yield reader


def status_with(failing: Collection[Work]) -> StorageStatus:
    """The status of a storage in which these kinds of work fail."""
    return StorageStatus({work: work not in failing for work in Work}, {}, None, None, None)


def pass_second(api: RunningApi, completed: int = 0, failing: Collection[Work] = (), *, pending: int = 1) -> None:
    """Advances the clocks by a second and publishes totals."""
    api.monotonic_s += 1
    api.clock.now_us += SECOND_US
    api.metric_events.publish(Totals(pending, 2, completed, 0, 0, 0, None), status_with(failing))
    api.metric_events.check_readers()


def reader_count(api: RunningApi) -> int:
    return len(api.metric_events.readers)


async def until_readers(api: RunningApi, count: int) -> None:
    while reader_count(api) != count:
        await turn_of_the_loop()


def types(messages: list[Message]) -> list[str]:
    return [message.type for message in messages]


@pytest.mark.gen_test
async def test_a_stream_begins_with_the_history(api: RunningApi) -> None:
    for completed in (0, 3, 10):
        pass_second(api, completed)
    async with stream(api, headers="X-Request-Id: mine\r\n") as reader:
        assert reader.headers["Content-Type"] == "text/event-stream"
        assert reader.headers["Cache-Control"] == "no-store"
        assert reader.headers["X-Request-Id"] == "mine"
        history, metrics = await reader.take(2)
        assert reader.parser.retry_ms == 1_000
    assert types([history, metrics]) == ["history", "metrics"]
    assert list(history.json) == ["interval_seconds", "covered_seconds", *Point.__struct_fields__]
    assert history.json["completed_per_second"] == [3, 7]
    assert history.json["ack_p99_seconds"] == [None, None]
    assert metrics.json["completed_orders"] == 10


@pytest.mark.gen_test
async def test_the_metrics_event_equals_get_metrics(start_api: StartApi) -> None:
    async def storage_status() -> StorageStatus:
        return status_with([Work.READS])

    api = await start_api(storage_status=storage_status)
    api.metric_events.publish(await api.orders.totals(), await storage_status())
    async with stream(api) as reader:
        _, metrics = await reader.take(2)
    assert metrics.data.encode() == (await api.get("/metrics")).body


@pytest.mark.gen_test
async def test_each_second_sends_metrics_and_a_point(api: RunningApi) -> None:
    async with stream(api) as reader:
        assert types(await reader.take(1)) == ["history"]
        pass_second(api)
        # The first totals make no point.
        assert types(await reader.take(1)) == ["metrics"]
        for second in range(1, 4):
            api.instruments.ack_s.observe(0.25)
            pass_second(api, completed=second * second)
            metrics, point = await reader.take(2)
            assert types([metrics, point]) == ["metrics", "point"]
            assert list(point.json) == list(Point.__struct_fields__)
            assert metrics.json["completed_orders"] == second * second
            assert (point.json["completed_per_second"], point.json["ack_p99_seconds"]) == (2 * second - 1, 0.25)
            assert (point.json["pending"], point.json["processing"]) == (1, 2)


@pytest.mark.gen_test
async def test_each_reader_gets_points_for_its_range(api: RunningApi) -> None:
    for completed in range(695):
        pass_second(api, completed)
    async with (
        open_stream(api.port, get_text(f"{EVENTS}?range=10m")) as seconds,
        open_stream(api.port, get_text(f"{EVENTS}?range=1h")) as tens,
        open_stream(api.port, get_text(f"{EVENTS}?range=1d")) as all_tens,
    ):
        assert reader_count(api) == 3
        for reader, interval_s, covered_s in ((seconds, 1, 600), (tens, 10, 3_600), (all_tens, 10, 3_600)):
            history, _ = await reader.take(2)
            shown = history.json["interval_seconds"], history.json["covered_seconds"]
            assert (shown, set(history.json["seconds"])) == ((interval_s, covered_s), {interval_s})
        times = []
        for pending in (7, 8):
            while any(reader.is_busy for reader in api.metric_events.readers):
                await turn_of_the_loop()
            pass_second(api, 695, pending=pending)
            for reader, interval_s in ((seconds, 1), (tens, 10), (all_tens, 10)):
                metrics, point = await reader.take(2)
                assert types([metrics, point]) == ["metrics", "point"]
                assert (point.json["seconds"], point.json["pending"]) == (interval_s, pending)
                times.append(point.json["time"])
        # The point of the current ten seconds is sent again when it has changed.
        assert times[1] == times[2] == times[4] == times[5] == history.json["time"][-1]
        assert times[3] == times[0] + 1
    await until_readers(api, 0)


@pytest.mark.gen_test
async def test_while_writes_fail_the_metrics_say_so(api: RunningApi) -> None:
    async with stream(api) as reader:
        pass_second(api, failing=[Work.WRITES])
        _, metrics = await reader.take(2)
        assert (metrics.json["storage"]["is_writable"], metrics.json["storage"]["is_readable"]) == (False, True)
        pass_second(api)
        metrics, _ = await reader.take(2)
        assert metrics.json["storage"]["is_writable"]


@pytest.mark.gen_test
async def test_while_the_totals_cannot_be_read_only_storage_events_are_sent(api: RunningApi) -> None:
    pass_second(api)
    async with stream(api) as reader:
        _, metrics = await reader.take(2)
        api.metric_events.publish(None, status_with([Work.READS]))
        [storage] = await reader.take(1)
        assert (storage.type, storage.json) == ("storage", metrics.json["storage"] | {"is_readable": False})
        async with stream(api) as late:
            assert types(await late.take(2)) == ["history", "storage"]
        pass_second(api)
        assert types(await reader.take(2)) == ["metrics", "point"]


@pytest.mark.gen_test
async def test_the_history_of_a_new_reader_equals_the_points_sent_to_others(api: RunningApi) -> None:
    pass_second(api)
    async with stream(api) as early:
        await early.take(2)
        for completed in (5, 7, 7):
            pass_second(api, completed)
        points = [message.json for message in await early.take(6) if message.type == "point"]
        async with stream(api) as late, stream(api) as other:
            history, metrics = await late.take(2)
            assert await other.take(2) == [history, metrics]
            assert [{name: history.json[name][n] for name in point} for n, point in enumerate(points)] == points
            pass_second(api, 8)
            assert await late.take(2) == await early.take(2) == await other.take(2)


@pytest.mark.gen_test
async def test_a_second_without_totals_sends_nothing(api: RunningApi) -> None:
    pass_second(api)
    async with stream(api) as reader:
        await reader.take(2)
        api.monotonic_s += 1
        api.metric_events.check_readers()
        pass_second(api, 4)
        metrics, point = await reader.take(2)
        assert (types([metrics, point]), point.json["completed_per_second"]) == (["metrics", "point"], 2)
        api.metric_events.close()
        assert await reader.rest() == []


@pytest.mark.gen_test
async def test_a_reader_that_never_reads_is_disconnected(api: RunningApi) -> None:
    async with stream(api) as reader:
        await reader.next()
        silent = await silent_reader(api.port, get_text(EVENTS))
        await until_readers(api, 2)
        [connection] = [each for each in api.metric_events.readers if _peer_of(each) != reader.local_address]
        while not connection.is_busy:
            pass_second(api)
            await reader.next()
            await turn_of_the_loop()
        held_bytes = unsent_bytes(connection)
        for _ in range(int(STALL_TIMEOUT_S) - 1):
            pass_second(api)
        assert unsent_bytes(connection) == held_bytes < 1_500
        assert reader_count(api) == 2
        pass_second(api)
        assert reader_count(api) == 1
        silent.close()


def _peer_of(connection: SseConnection) -> tuple[str, int]:
    address: tuple[str, int] = connection.stream.socket.getpeername()
    return address


@pytest.mark.gen_test
@pytest.mark.parametrize("reset", [False, True])
async def test_a_disconnected_reader_is_removed(api: RunningApi, reset: bool) -> None:
    async with stream(api), stream(api):
        assert reader_count(api) == 2
    await until_readers(api, 0)
    for _ in range(5):
        silent = await silent_reader(api.port, get_text(EVENTS))
        if reset:
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        silent.close()
        await api.get("/livez")
        await until_readers(api, 0)
    pass_second(api)


@pytest.mark.gen_test
async def test_a_reader_over_the_limit_is_rejected(tmp_path: Path) -> None:
    async with api_with_limits(tmp_path, max_metrics_readers=2) as api:
        async with stream(api), stream(api):
            answer = await api.get(EVENTS)
            assert (answer.status, answer.json["type"]) == (503, "/problems/overloaded")
            assert answer.headers["Retry-After"] == "1"
        await until_readers(api, 0)
        async with stream(api):
            pass


@pytest.mark.gen_test
@pytest.mark.parametrize("query", ["user_id=1", "interval=", "x=1&x=2", "range=2h", "range=", "range=1h&range=1d"])
async def test_any_other_parameter_is_a_422(api: RunningApi, query: str) -> None:
    answer = await api.get(f"{EVENTS}?{query}")
    assert (answer.status, answer.json["type"]) == (422, "/problems/invalid-parameter")
    assert reader_count(api) == 0


@pytest.mark.gen_test
@pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS"])
async def test_only_get_is_allowed(api: RunningApi, method: str) -> None:
    answer = await api.request(method, EVENTS)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET")


@pytest.mark.gen_test
@pytest.mark.parametrize("headers", ["", "Connection: keep-alive\r\n"])
async def test_an_http_1_0_stream_ends_with_the_connection(api: RunningApi, headers: str) -> None:
    async with stream(api, version="1.0", headers=headers) as reader:
        assert "Transfer-Encoding" not in reader.headers
        assert reader.headers["Connection"] == "close"
        assert (await reader.next()).type == "history"
        pass_second(api)
        api.metric_events.close()
        assert types(await reader.rest()) == ["metrics"]


@pytest.mark.gen_test
async def test_closing_ends_every_stream(api: RunningApi) -> None:
    async with stream(api) as reader, stream(api) as other:
        pass_second(api)
        api.metric_events.close()
        api.metric_events.close()
        assert types(await reader.rest()) == types(await other.rest()) == ["history", "metrics"]
    assert reader_count(api) == 0
    answer = await api.get(EVENTS)
    assert (answer.status, answer.json["type"]) == (503, "/problems/stopping")
    pass_second(api)


@pytest.mark.gen_test
async def test_the_history_for_new_readers_is_rendered_once_a_second(api: RunningApi) -> None:
    pass_second(api)
    first, *others = await asyncio.gather(*(_history(api) for _ in range(5)))
    assert others == [first] * 4
    # Adds a point without `publish`. The point would appear if the history were rendered again.
    api.monotonic_s += 1
    assert api.telemetry.history.add(Totals(1, 2, 0, 0, 0, 0, None)) is not None
    assert await _history(api) == first
    pass_second(api)
    assert await _history(api) != first


async def _history(api: RunningApi) -> Message:
    async with stream(api) as reader:
        message = await reader.next()
        assert message.type == "history"
        return message
