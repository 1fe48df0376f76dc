"""`GET /metrics/events`: how it went and how it goes, as Server-Sent Events."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from handlers.metrics.history import Point
from handlers.sse.connection import STALLED_S, SseConnection
from models.order import Totals
from tests.handlers.event_stream import Stream, opened, quiet
from tests.handlers.processing import limited
from tests.handlers.service import Service, get_text, turn_of_the_loop
from tests.models.samples import SECOND_US
from tests.sse import Message

EVENTS = "/metrics/events"


@asynccontextmanager
async def stream(service: Service, *, version: str = "1.1", headers: str = "") -> AsyncIterator[Stream]:
    async with opened(service.port, get_text(EVENTS, version=version, headers=headers)) as reader:
        yield reader


def tick(service: Service, completed: int = 0) -> None:
    """A second goes by."""
    service.monotonic_s += 1
    service.clock.now_us += SECOND_US
    service.metrics_streams.tell(Totals(1, 2, completed, 0, 0, 0, None), is_writable=service.is_writable)
    service.metrics_streams.beat()


def readers_of(service: Service) -> int:
    return len(service.metrics_streams._readers)


async def until_readers(service: Service, count: int) -> None:
    while readers_of(service) != count:
        await turn_of_the_loop()


def types(messages: list[Message]) -> list[str]:
    return [message.type for message in messages]


@pytest.mark.gen_test
async def test_a_stream_begins_with_how_it_went(service: Service) -> None:
    for completed in (0, 3, 10):
        tick(service, completed)
    async with stream(service, headers="X-Request-Id: mine\r\n") as reader:
        assert reader.headers["Content-Type"] == "text/event-stream"
        assert reader.headers["Cache-Control"] == "no-store"
        assert reader.headers["X-Request-Id"] == "mine"
        history, metrics = await reader.take(2)
        assert reader.parser.retry_ms == 1_000
    assert types([history, metrics]) == ["history", "metrics"]
    assert list(history.json) == ["interval_seconds", *Point.__struct_fields__]
    assert history.json["completed_per_second"] == [3, 7]
    assert history.json["ack_p99_seconds"] == [None, None]
    assert metrics.json["completed_orders"] == 10


@pytest.mark.gen_test
async def test_the_metrics_are_those_of_the_json(service: Service) -> None:
    totals = await service.orders.totals()
    service.metrics_streams.tell(totals)
    async with stream(service) as reader:
        _, metrics = await reader.take(2)
    assert metrics.data.encode() == (await service.get("/metrics")).body


@pytest.mark.gen_test
async def test_each_second_brings_the_metrics_and_a_point(service: Service) -> None:
    async with stream(service) as reader:
        assert types(await reader.take(1)) == ["history"]
        tick(service)
        # From one look alone there are no rates.
        assert types(await reader.take(1)) == ["metrics"]
        for second in range(1, 4):
            service.instruments.ack_s.observe(0.25)
            tick(service, completed=second * second)
            metrics, point = await reader.take(2)
            assert types([metrics, point]) == ["metrics", "point"]
            assert list(point.json) == list(Point.__struct_fields__)
            assert metrics.json["completed_orders"] == second * second
            assert (point.json["completed_per_second"], point.json["ack_p99_seconds"]) == (2 * second - 1, 0.25)
            assert (point.json["pending"], point.json["processing"]) == (1, 2)


@pytest.mark.gen_test
async def test_while_writes_fail_the_stream_says_so(service: Service) -> None:
    async with stream(service) as reader:
        service.is_writable = False
        tick(service)
        history, storage, metrics = await reader.take(3)
        assert types([history, storage, metrics]) == ["history", "storage", "metrics"]
        assert storage.json == {"is_writable": False}
        async with stream(service) as late:
            assert types(await late.take(3)) == ["history", "storage", "metrics"]
        tick(service)
        assert types(await reader.take(3)) == ["storage", "metrics", "point"]
        service.is_writable = True
        tick(service)
        assert types(await reader.take(2)) == ["metrics", "point"]


@pytest.mark.gen_test
async def test_who_comes_later_gets_as_history_what_others_got_as_points(service: Service) -> None:
    tick(service)
    async with stream(service) as early:
        await early.take(2)
        for completed in (5, 7, 7):
            tick(service, completed)
        points = [message.json for message in await early.take(6) if message.type == "point"]
        async with stream(service) as late, stream(service) as other:
            history, metrics = await late.take(2)
            assert await other.take(2) == [history, metrics]
            assert [{name: history.json[name][n] for name in point} for n, point in enumerate(points)] == points
            tick(service, 8)
            assert await late.take(2) == await early.take(2) == await other.take(2)


@pytest.mark.gen_test
async def test_a_second_without_totals_brings_nothing(service: Service) -> None:
    tick(service)
    async with stream(service) as reader:
        await reader.take(2)
        service.monotonic_s += 1
        service.metrics_streams.beat()
        tick(service, 4)
        metrics, point = await reader.take(2)
        assert (types([metrics, point]), point.json["completed_per_second"]) == (["metrics", "point"], 2)
        service.metrics_streams.close()
        assert await reader.rest() == []


@pytest.mark.gen_test
async def test_a_reader_that_never_reads_misses_points_and_is_dropped(service: Service) -> None:
    async with stream(service) as reader:
        await reader.next()
        silent = await quiet(service.port, get_text(EVENTS))
        await until_readers(service, 2)
        [connection] = [each for each in service.metrics_streams._readers if not _is_read_by(each, reader)]
        while not connection.is_busy:
            tick(service)
            await reader.next()
            await turn_of_the_loop()
        held_bytes = connection._connection.stream._write_buffer._size
        for _ in range(int(STALLED_S) - 1):
            tick(service)
        assert connection._connection.stream._write_buffer._size == held_bytes < 1_500
        assert readers_of(service) == 2
        tick(service)
        assert readers_of(service) == 1
        silent.close()


def _is_read_by(connection: SseConnection, reader: Stream) -> bool:
    peer: tuple[str, int] = connection._connection.stream.socket.getpeername()
    own: tuple[str, int] = reader._writer.get_extra_info("sockname")
    return peer == own


@pytest.mark.gen_test
@pytest.mark.parametrize("reset", [False, True])
async def test_a_reader_that_goes_away_is_forgotten(service: Service, reset: bool) -> None:
    async with stream(service), stream(service):
        assert readers_of(service) == 2
    await until_readers(service, 0)
    for _ in range(5):
        silent = await quiet(service.port, get_text(EVENTS))
        if reset:
            silent.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        silent.close()
        await service.get("/livez")
        await until_readers(service, 0)
    tick(service)


@pytest.mark.gen_test
async def test_where_there_are_too_many_readers_the_next_one_is_refused(tmp_path: Path) -> None:
    async with limited(tmp_path, max_metrics_readers=2) as service:
        async with stream(service), stream(service):
            answer = await service.get(EVENTS)
            assert (answer.status, answer.json["type"]) == (503, "/problems/overloaded")
            assert answer.headers["Retry-After"] == "1"
        await until_readers(service, 0)
        async with stream(service):
            pass


@pytest.mark.gen_test
@pytest.mark.parametrize("query", ["user_id=1", "interval=", "x=1&x=2"])
async def test_it_knows_no_parameters(service: Service, query: str) -> None:
    answer = await service.get(f"{EVENTS}?{query}")
    assert (answer.status, answer.json["type"]) == (422, "/problems/invalid-parameter")
    assert readers_of(service) == 0


@pytest.mark.gen_test
@pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS"])
async def test_it_can_only_be_got(service: Service, method: str) -> None:
    answer = await service.request(method, EVENTS)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET")


@pytest.mark.gen_test
@pytest.mark.parametrize("headers", ["", "Connection: keep-alive\r\n"])
async def test_a_client_of_http_1_0_reads_to_the_connections_end(service: Service, headers: str) -> None:
    async with stream(service, version="1.0", headers=headers) as reader:
        assert "Transfer-Encoding" not in reader.headers
        assert reader.headers["Connection"] == "close"
        assert (await reader.next()).type == "history"
        tick(service)
        service.metrics_streams.close()
        assert types(await reader.rest()) == ["metrics"]


@pytest.mark.gen_test
async def test_a_stop_ends_every_stream(service: Service) -> None:
    async with stream(service) as reader, stream(service) as other:
        tick(service)
        service.metrics_streams.close()
        service.metrics_streams.close()
        assert types(await reader.rest()) == types(await other.rest()) == ["history", "metrics"]
    assert readers_of(service) == 0
    answer = await service.get(EVENTS)
    assert (answer.status, answer.json["type"]) == (503, "/problems/stopping")
    tick(service)


@pytest.mark.gen_test
async def test_all_that_come_within_a_second_share_what_they_are_told(service: Service) -> None:
    tick(service)
    await asyncio.gather(*(_history(service) for _ in range(5)))
    first = service.metrics_streams._greeting
    await _history(service)
    assert service.metrics_streams._greeting is first
    tick(service)
    assert service.metrics_streams._greeting is None


async def _history(service: Service) -> None:
    async with stream(service) as reader:
        assert (await reader.next()).type == "history"
