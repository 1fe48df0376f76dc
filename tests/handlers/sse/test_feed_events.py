"""`GET /orders/events` of a server whose events come from a feed that several servers share."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from tornado.ioloop import IOLoop

from handlers.sse.feed_progress import AHEAD_S, READ_S
from models.changes.feed import FeedRead, FeedRow
from models.changes.order_changes import OrderChange
from models.order import Status
from tests.handlers.event_stream import Stream, open_stream
from tests.handlers.running_api import RunningApi, get_text, turn_of_the_loop, until
from tests.loop_time import LoopTime
from tests.models.samples import Clock
from tests.process import DEADLINE_S

EVENTS = "/orders/events"
MANY_TURNS = 50
"""More iterations of the event loop than a request needs to begin to wait."""


class FeedApi(RunningApi):
    """An API for a test that supplies the parts of the feed itself, and opens streams."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "feed.db", Clock(), has_feed=True)
        self.telemetry_limits = self.telemetry_limits._replace(max_event_readers=3)
        self._streams = AsyncExitStack()
        self._last = 0

    def read(self, *rows: int, begins_after: int | None = None, epoch: str = "ab", has_more: bool = False) -> None:
        """A part of the feed, with one change in each row, of the order with the row's id.

        If `begins_after` is given, the part is a restart.
        """
        self.monotonic_s += 1
        parts = [FeedRow(row, [OrderChange(row, row % 2 + 1, Status.PENDING)]) for row in rows]
        is_restart = begins_after is not None
        after = self._last if begins_after is None else begins_after
        self._last = max(after, *rows, 0)
        self.telemetry.feed_read(FeedRead(epoch, after, self._last, parts, is_restart, has_more))

    async def open_stream(self, last_id: str = "", query: str = "") -> Stream:
        headers = f"Last-Event-ID: {last_id}\r\n" if last_id else ""
        return await self._streams.enter_async_context(
            open_stream(self.port, get_text(EVENTS + query, headers=headers))
        )

    async def waiting_stream(self, last_id: str = "") -> "asyncio.Task[Stream]":
        """A request for events that does not get a response yet."""
        task = asyncio.create_task(self.open_stream(last_id))
        for _ in range(MANY_TURNS):
            await turn_of_the_loop()
        assert not task.done()
        return task

    async def close_streams(self) -> None:
        await self._streams.aclose()

    async def close(self) -> None:
        await self.close_streams()
        await super().close()


@asynccontextmanager
async def begun(api: FeedApi) -> AsyncIterator[Stream]:
    """Opens a stream, whose feed begins after row 10."""
    opening = await api.waiting_stream()
    api.read(begins_after=10)
    yield await opening


@pytest.fixture
def api(io_loop: IOLoop, tmp_path: Path) -> Iterator[FeedApi]:
    api = FeedApi(tmp_path)
    io_loop.run_sync(api.open, timeout=DEADLINE_S)
    yield api
    io_loop.run_sync(api.close, timeout=DEADLINE_S)


async def order_ids(stream: Stream, count: int) -> list[int]:
    return [message.json["order_id"] for message in await stream.take(count)]


@pytest.mark.gen_test
async def test_a_stream_begins_when_the_feed_has_been_read(api: FeedApi) -> None:
    assert not api.order_events.wants_changes
    opening = await api.waiting_stream()
    assert api.order_events.wants_changes
    api.read(8, 9, begins_after=7, has_more=True)
    with_id = await api.waiting_stream("ab-8-1")
    api.read(10)
    stream, resumed = await opening, await with_id
    assert stream.parser.last_id == "ab-10-1"
    api.read(12, 13)
    for each, expected in ((stream, [12, 13]), (resumed, [9, 10, 12, 13])):
        messages = await each.take(len(expected))
        assert [message.last_id for message in messages] == [f"ab-{row}-1" for row in expected]


@pytest.mark.gen_test
async def test_further_streams_begin_at_once(api: FeedApi) -> None:
    async with begun(api) as first:
        assert first.parser.last_id == "ab-11-0"
        api.read(11)
        new, resumed = await api.open_stream(), await api.open_stream("ab-11-0")
        api.read(12)
        assert await order_ids(new, 1) == [12]
        assert await order_ids(resumed, 2) == [11, 12]


@pytest.mark.gen_test
async def test_a_reader_with_the_id_of_another_server_gets_only_later_events(api: FeedApi) -> None:
    async with begun(api):
        opening = await api.waiting_stream("ab-12-1")
        api.read(11)
        for _ in range(MANY_TURNS):
            await turn_of_the_loop()
        assert not opening.done()
        api.read(12, 13)
        assert await order_ids(await opening, 1) == [13]


@pytest.mark.gen_test
async def test_an_id_that_never_appears_gets_a_reset(api: FeedApi, loop_time: LoopTime) -> None:
    async with begun(api):
        opening = await api.waiting_stream("ab-999-1")
        await loop_time.advance(AHEAD_S)
        message = await (await opening).next()
        assert (message.type, message.last_id) == ("reset", "ab-11-0")


@pytest.mark.gen_test
async def test_a_request_that_waits_too_long_gets_a_503(api: FeedApi, loop_time: LoopTime) -> None:
    getting = asyncio.create_task(api.get(EVENTS))
    await until(lambda: api.order_events.wants_changes)
    await loop_time.advance(READ_S)
    answer = await getting
    assert (answer.status, answer.json["type"]) == (503, "/problems/storage-unavailable")
    assert not api.order_events.wants_changes


@pytest.mark.gen_test
async def test_requests_that_wait_count_as_readers(api: FeedApi) -> None:
    opening = [await api.waiting_stream() for _ in range(3)]
    assert (await api.get(EVENTS)).status == 503
    api.read(begins_after=10)
    for each in opening:
        await each
    assert (await api.get(EVENTS)).status == 503


@pytest.mark.gen_test
async def test_a_request_that_waits_at_a_stop_gets_a_503(api: FeedApi) -> None:
    getting = asyncio.create_task(api.get(EVENTS))
    await until(lambda: api.order_events.wants_changes)
    api.order_events.close()
    assert (await getting).json["type"] == "/problems/stopping"


@pytest.mark.gen_test
async def test_a_client_that_disconnects_while_it_waits_is_forgotten_at_once(
    api: FeedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("handlers.sse.feed_progress.READ_S", 1e9)  # the end of the wait would also end the request
    opening = [await api.waiting_stream() for _ in range(3)]
    for each in opening:
        each.cancel()
    await asyncio.wait(opening)
    await until(lambda: not api.order_events.wants_changes)
    # The readers that disconnected no longer count towards the limit.
    again = [await api.waiting_stream() for _ in range(3)]
    api.read(begins_after=10)
    for each in again:
        await each
    assert len(api.order_events.readers) == 3


@pytest.mark.gen_test
async def test_a_new_epoch_resets_the_readers(api: FeedApi) -> None:
    async with begun(api) as stream:
        api.read(11)
        assert await order_ids(stream, 1) == [11]
        api.read(1, begins_after=0, epoch="cd")
        reset, message = await stream.take(2)
        assert (reset.type, reset.last_id) == ("reset", "cd-1-0")
        assert (message.type, message.last_id) == ("order", "cd-1-1")
        opening = await api.waiting_stream("ab-11-1")
        for _ in range(2):
            api.read()
        again = await opening
        assert [(await again.next()).type, again.parser.last_id] == ["reset", "cd-1-1"]


@pytest.mark.gen_test
async def test_a_reader_with_an_id_of_a_new_epoch_waits_until_this_server_has_read_it(api: FeedApi) -> None:
    async with begun(api) as stream:
        opening = await api.waiting_stream("cd-1-1")
        api.read(11)
        api.read(1, 2, begins_after=0, epoch="cd")
        assert await order_ids(await opening, 1) == [2]
        assert [message.type for message in await stream.take(4)] == ["order", "reset", "order", "order"]


@pytest.mark.gen_test
async def test_events_that_are_not_sent_yet_come_before_a_reset(api: FeedApi) -> None:
    async with begun(api) as stream:
        api.read(11)
        api.read(12)
        api.read(begins_after=20)
        assert [message.type for message in await stream.take(3)] == ["order", "order", "reset"]


@pytest.mark.gen_test
async def test_a_server_without_readers_reads_on_before_the_next_stream_begins(api: FeedApi) -> None:
    async with begun(api) as stream:
        api.read(11)
        assert await order_ids(stream, 1) == [11]
    await api.close_streams()
    await until(lambda: not api.order_events.wants_changes)
    opening = await api.waiting_stream()
    api.read(12, 13)
    assert (await opening).parser.last_id == "ab-13-1"
