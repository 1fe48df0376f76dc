"""The feed is read while the observer wants changes, and once more at the end."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from models.changes.feed import FeedRead
from models.errors import StorageBusyError
from tests.loop_time import LoopTime
from tests.workers.event_loop import next_loop_iteration
from tests.workers.recording_observer import RecordingObserver
from workers.batcher import Batcher
from workers.call_thread import CallThread
from workers.sharing.feed_polling import INTERVAL_MS, FeedPolling

INTERVAL_S = INTERVAL_MS / 1_000


def part(number: int, *, has_more: bool = False) -> FeedRead:
    return FeedRead("ab", number - 1, number, [], number == 1, has_more)


class ScriptedFeed:
    """Each read takes the next item of `script`: a part, None, or an error. After the last one, the result is None."""

    def __init__(self, *script: FeedRead | Exception | None) -> None:
        self.script = list(script)
        self.reads = 0
        self.gate = threading.Event()
        self.gate.set()

    def read(self, requests: object) -> list[FeedRead | Exception | None]:
        self.gate.wait()
        self.reads += 1
        return [self.script.pop(0) if self.script else None]


@pytest.fixture
def thread() -> Iterator[CallThread]:
    thread = CallThread("reader")
    yield thread
    thread.close()


@asynccontextmanager
async def polling(feed: ScriptedFeed, observer: RecordingObserver, thread: CallThread) -> AsyncIterator[FeedPolling]:
    polling = FeedPolling(Batcher(thread, feed.read, max_waiting=10), observer=observer)
    polling.start()
    try:
        yield polling
    finally:
        await polling.stop()


async def until(condition: Callable[[], bool], loop_time: LoopTime, thread: CallThread) -> None:
    """Lets one interval after another pass. Without the wait for the thread, a slow read would take many intervals."""
    while not condition():
        await loop_time.advance(INTERVAL_S)
        await thread.run(lambda: None)  # after the read, if one has begun


@pytest.mark.gen_test
async def test_each_part_goes_to_the_observer(loop_time: LoopTime, thread: CallThread) -> None:
    feed, observer = ScriptedFeed(None, part(1), StorageBusyError("busy", code="57014"), part(2)), RecordingObserver()
    async with polling(feed, observer, thread):
        await until(lambda: len(observer.parts) == 2, loop_time, thread)
    assert observer.parts == [part(1), part(2)]


@pytest.mark.gen_test
async def test_the_first_error_of_several_is_logged(
    loop_time: LoopTime, thread: CallThread, caplog: pytest.LogCaptureFixture
) -> None:
    error = RuntimeError("damaged")
    feed, observer = ScriptedFeed(error, error, part(1), StorageBusyError("busy", code="57014")), RecordingObserver()
    async with polling(feed, observer, thread):
        await until(lambda: len(feed.script) == 0, loop_time, thread)
    begin = "the changes for event streams can't be read: "
    assert [(record.getMessage(), bool(record.exc_info)) for record in caplog.records] == [
        (f"{begin}damaged", True),
        (f"{begin}busy", False),
    ]


@pytest.mark.gen_test
async def test_the_rest_of_a_long_feed_is_read_at_once(loop_time: LoopTime, thread: CallThread) -> None:
    feed, observer = ScriptedFeed(*(part(number, has_more=number < 4) for number in range(1, 5))), RecordingObserver()
    async with polling(feed, observer, thread):
        await loop_time.advance(INTERVAL_S)
        await observer.until(lambda: len(observer.parts) == 4)


@pytest.mark.gen_test
async def test_nothing_is_read_while_the_observer_wants_no_changes(loop_time: LoopTime, thread: CallThread) -> None:
    feed, observer = ScriptedFeed(part(1)), RecordingObserver(wants_changes=False)
    async with polling(feed, observer, thread):
        for _ in range(20):
            await loop_time.advance(INTERVAL_S)
    assert feed.reads == 0


@pytest.mark.gen_test
async def test_one_read_at_a_time(loop_time: LoopTime, thread: CallThread) -> None:
    feed, observer = ScriptedFeed(), RecordingObserver()
    async with polling(feed, observer, thread) as reads:
        feed.gate.clear()
        for _ in range(20):
            await loop_time.advance(INTERVAL_S)
        feed.script = [part(1), part(2), part(3)]
        # The read that is running, and the last one.
        stopping = asyncio.create_task(reads.stop())
        await next_loop_iteration()
        feed.gate.set()
        await stopping
    assert observer.parts == [part(1), part(2)]
    assert feed.reads == 2


@pytest.mark.gen_test
async def test_the_last_changes_are_read_before_the_end(thread: CallThread) -> None:
    feed, observer = ScriptedFeed(part(1, has_more=True), part(2)), RecordingObserver()
    async with polling(feed, observer, thread):
        pass
    assert observer.parts == [part(1, has_more=True), part(2)]
