"""Old orders leave the store, and are in the archive exactly once, whatever fails in between."""

import asyncio
import gzip
import json
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from handlers.orders.order_view import order_line
from models.errors import StorageUnavailableError
from models.order import Status
from models.sqlite.store import SqliteStore
from models.store import Store
from models.writes.archiving import ArchiveOrders
from models.writes.attempts import Outcome
from models.writes.result import WriteResult
from models.writes.write import AnyWrite
from tests.loop_time import LoopTime
from tests.models.new_database import open_new_database
from tests.models.samples import SECOND_US, Clock, new_order
from tests.models.shorthand_store import ShorthandStore
from tests.process import HANGS_AFTER_S
from tests.workers.recording_observer import RecordingObserver
from workers.batcher import WriteBatcher
from workers.processors.record import RecordRunner
from workers.retention.retention import BATCH, FAILURE_S, FIRST_BATCH, PAUSE_FACTOR, Retention, pause_s
from workers.retention.settings import RetentionSettings
from workers.service import OrderService
from workers.service_limits import ServiceLimits

KEEP_S = 100
COUNT = BATCH + 10
LOOP_TIME_S = 1_000_000
"""The time-out of a test in the event loop's time, which the tests advance."""


class FailingStore(ShorthandStore):
    """A store that fails to archive: before or after its transaction."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.fails: list[str] = []
        self.batches: list[int] = []

    def maintain(self) -> None:
        """Does nothing: time passes so quickly here that a checkpoint would lock the database too often."""

    def write(self, batch: Sequence[AnyWrite], *, max_pending: int | None = None) -> list[WriteResult]:
        archived = [len(write.orders) for write in batch if isinstance(write, ArchiveOrders)]
        self.batches += archived
        fails = self.fails.pop() if archived and self.fails else None
        if fails == "before":
            raise StorageUnavailableError("the disk is full")
        results = super().write(batch, max_pending=max_pending)
        if fails == "after":
            raise StorageUnavailableError("the connection broke")
        return results


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> FailingStore:
    """A store with orders that ended long ago, of which the newest one never expires."""
    database = open_new_database(tmp_path / "orders.db")
    store = FailingStore(SqliteStore(database, clock=clock))
    store.connect()
    store.insert(*(new_order(order_id, metadata='{"a": 1}') for order_id in range(1, COUNT + 2)))
    store.finish(*(Outcome(order.sequence, 1, Status.COMPLETED) for order in store.claim(COUNT + 1)))
    clock.now_us += (KEEP_S + 1) * SECOND_US
    store.disconnect()
    return store


@asynccontextmanager
async def running(
    store: FailingStore, clock: Clock, folder: Path | None, *, keep_s: int = KEEP_S
) -> AsyncIterator[OrderService]:
    service = OrderService(
        store=store,
        runner=RecordRunner(),
        observer=RecordingObserver(),
        limits=ServiceLimits(),
        clock=clock,
        retention=RetentionSettings(keep_s, folder),
        lines=order_line,
    )
    await service.open()
    try:
        await service.start()
        yield service
    finally:
        await service.stop(0)
        for _ in range(2):
            await service.close()


async def until_archived(service: OrderService, loop_time: LoopTime, count: int) -> None:
    while (await service.totals()).archived < count:
        await loop_time.advance(FAILURE_S)


def archived_in(folder: Path) -> list[Any]:
    texts = [gzip.decompress(each.read_bytes()) for each in sorted(folder.glob("*.gz"))]
    return [json.loads(line) for line in b"".join(texts).splitlines()]


@pytest.mark.gen_test(timeout=LOOP_TIME_S)
async def test_old_orders_are_archived_in_batches(
    store: FailingStore, clock: Clock, tmp_path: Path, loop_time: LoopTime
) -> None:
    store.connect()
    expected = [json.loads(order_line(store.find_one(order_id))) for order_id in range(1, COUNT + 1)]
    store.disconnect()
    async with running(store, clock, tmp_path / "archive") as service:
        await until_archived(service, loop_time, COUNT)
        assert (await service.totals()).completed == COUNT + 1
        newest = await service.find(COUNT + 1)
        assert newest
    assert archived_in(tmp_path / "archive") == expected
    assert store.batches == [FIRST_BATCH, BATCH - FIRST_BATCH - 1, 11]


@pytest.mark.parametrize(("batch_s", "pause"), [(0.05, 0.05 * PAUSE_FACTOR), (10, 30), (60, 30)])
def test_the_pause_after_a_slow_batch_is_limited(batch_s: float, pause: float) -> None:
    assert pause_s(batch_s) == pause


@pytest.mark.gen_test(timeout=LOOP_TIME_S)
async def test_a_stall_does_not_stop_retention_for_long(store: FailingStore, clock: Clock, loop_time: LoopTime) -> None:
    batches: asyncio.Queue[int] = asyncio.Queue()

    class StalledWrites:
        """Writes that take 10 seconds."""

        async def submit(self, command: ArchiveOrders, *, size: int) -> bool:
            await loop_time.advance(10)
            batches.put_nowait(size)
            return True

    retention = Retention(
        RetentionSettings(KEEP_S, None),
        store=store,
        writes=cast(WriteBatcher, StalledWrites()),
        lines=order_line,
        clock=clock,
        monotonic=asyncio.get_running_loop().time,
    )

    await retention.open()
    retention.start()
    async with asyncio.timeout(HANGS_AFTER_S):
        await batches.get()
        end_s = asyncio.get_running_loop().time() + 31
        while batches.empty():
            # Orders arrive all the time, so the pause does not end early.
            retention.note_writes([new_order(1)])
            await loop_time.advance(0.25 if asyncio.get_running_loop().time() < end_s else 0)
    await retention.close()


@pytest.mark.gen_test(timeout=LOOP_TIME_S)
async def test_orders_are_deleted_without_an_archive(store: FailingStore, clock: Clock, loop_time: LoopTime) -> None:
    async with running(store, clock, None) as service:
        await until_archived(service, loop_time, COUNT)


@pytest.mark.gen_test(timeout=LOOP_TIME_S)
async def test_recent_orders_are_kept_until_they_expire(
    store: FailingStore, clock: Clock, tmp_path: Path, loop_time: LoopTime
) -> None:
    async with running(store, clock, tmp_path / "archive", keep_s=2 * KEEP_S) as service:
        await loop_time.advance(KEEP_S)
        await service.totals()
        assert store.batches == []
        clock.now_us += KEEP_S * SECOND_US
        await until_archived(service, loop_time, COUNT)


@pytest.mark.parametrize("fails", [["before"], ["after"], ["after", "before", "before"]])
@pytest.mark.gen_test(timeout=LOOP_TIME_S)
async def test_no_order_is_lost_or_archived_twice_if_a_delete_fails(
    store: FailingStore,
    clock: Clock,
    tmp_path: Path,
    loop_time: LoopTime,
    fails: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    store.fails = fails.copy()
    caplog.set_level(logging.INFO, "orders.retention")
    async with running(store, clock, tmp_path / "archive") as service:
        await until_archived(service, loop_time, COUNT)
    assert [order["order_id"] for order in archived_in(tmp_path / "archive")] == list(range(1, COUNT + 1))
    messages = [record.getMessage() for record in caplog.records if record.name == "orders.retention"]
    assert len(messages) == 2
    assert messages[0].startswith("old orders can't be archived, and are kept: ")
    assert messages[1] == "old orders are archived again"


@pytest.mark.gen_test(timeout=LOOP_TIME_S)
async def test_an_order_that_is_erased_meanwhile_is_archived_without_personal_data(
    store: FailingStore, clock: Clock, tmp_path: Path, loop_time: LoopTime
) -> None:
    async with running(store, clock, tmp_path / "archive") as service:
        erased = await service.erase(1)
        assert erased
        await until_archived(service, loop_time, COUNT)
    archived = archived_in(tmp_path / "archive")
    assert len(archived) == COUNT
    [first] = [order for order in archived if order["order_id"] == 1]
    assert (first["user_id"], "metadata" in first) == (0, False)


@pytest.mark.gen_test(timeout=LOOP_TIME_S)
async def test_an_archive_that_cannot_be_written_keeps_all_orders(
    store: FailingStore, clock: Clock, tmp_path: Path, loop_time: LoopTime, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "archive"
    blocked = folder / "orders-9999-12-31.ndjson.gz"
    blocked.mkdir(parents=True)
    async with running(store, clock, folder) as service:
        while not caplog.records:
            await loop_time.advance(FAILURE_S)
            assert (await service.totals()).archived == 0
        blocked.rmdir()
        await until_archived(service, loop_time, COUNT)
    assert [order["order_id"] for order in archived_in(folder)] == list(range(1, COUNT + 1))
