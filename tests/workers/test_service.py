"""The order service with a real store, from open to close."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from models.database.health import StorageStatus, Work
from models.errors import OrderConflictError, QueueClosedError, StorageBusyError, StorageUnavailableError
from models.order import Order, Status, Totals
from models.sqlite.files.lock import DatabaseLock
from models.sqlite.store import SqliteStore
from models.store import Store, open_store
from models.writes.insertion import Insertion, InsertResult
from models.writes.result import WriteResult
from models.writes.write import AnyWrite
from tests.loop_time import LoopTime
from tests.models.new_database import open_new_database
from tests.models.new_store import NewStore, open_new_store
from tests.models.packed import pack
from tests.models.samples import Clock, new_order
from tests.models.shorthand_store import ShorthandStore
from tests.workers.event_loop import next_loop_iteration
from tests.workers.recording_observer import RecordingObserver
from workers.processors.claim_gate import ClaimGate, GateState, OpenGate
from workers.processors.functions.runner import FunctionRunner
from workers.processors.functions.worker_threads import WorkerThreads
from workers.processors.processor import AttemptRunner
from workers.processors.record import RecordRunner
from workers.service import OrderService
from workers.service_limits import ServiceLimits
from workers.store_threads import MAX_BATCH


class BlockingProcessor:
    """Completes an order when `release` is set."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.release = threading.Event()

    def __call__(self, order: Order) -> None:
        self.begun.set()
        self.release.wait()

    def on_threads(self) -> FunctionRunner:
        return FunctionRunner(workers=WorkerThreads(processor=self, pool=ThreadPoolExecutor(2)), places=2)


@pytest.fixture
def new(tmp_path: Path, clock: Clock) -> Iterator[NewStore]:
    """A new store. On SQLite, its file is `orders.db` in `tmp_path`."""
    new = open_new_store(tmp_path / "orders.db", clock=clock)
    yield new
    new.give_back()


@asynccontextmanager
async def opened(
    store: Store,
    clock: Clock,
    *,
    runner: AttemptRunner | None = None,
    observer: RecordingObserver | None = None,
    gate: ClaimGate | None = None,
) -> AsyncIterator[OrderService]:
    """Opens a service without starting it. Stops and closes it at the end of the block."""
    service = OrderService(
        store=store,
        runner=runner or RecordRunner(),
        observer=observer or RecordingObserver(),
        limits=ServiceLimits(),
        clock=clock,
        gate=gate,
    )
    await service.open()
    try:
        yield service
    finally:
        await service.stop(0)
        await service.close()


async def pass_a_second(loop_time: LoopTime, observer: RecordingObserver) -> None:
    """Returns after the tasks of the next second have run."""
    before = len(observer.totals)
    await loop_time.advance(1)
    await observer.until(lambda: len(observer.totals) > before)


async def pass_seconds_until_writes_work(
    loop_time: LoopTime, observer: RecordingObserver, caplog: pytest.LogCaptureFixture
) -> None:
    # The tasks of the first second start a probe, the tasks of the next second report its result.
    await pass_a_second(loop_time, observer)
    while "writes of the database work again" not in caplog.messages:
        await next_loop_iteration()
    await pass_a_second(loop_time, observer)
    await observer.until(lambda: observer.writable[-1])


@pytest.mark.gen_test
async def test_the_running_attempts_are_reported_each_second(new: NewStore, clock: Clock, loop_time: LoopTime) -> None:
    observer, processor = RecordingObserver(), BlockingProcessor()
    async with opened(new.store, clock, runner=processor.on_threads(), observer=observer) as service:
        await service.start()
        await service.insert(new_order(1))
        await asyncio.to_thread(processor.begun.wait)
        await pass_a_second(loop_time, observer)
        await observer.until(lambda: observer.calls[-1] == (1, 0))
        processor.release.set()
        await observer.until(lambda: observer.changes[-1].status is Status.COMPLETED)
        await pass_a_second(loop_time, observer)
        await observer.until(lambda: observer.calls[-1] == (0, 0))
    assert observer.calls[0] == (0, 0)


@pytest.mark.gen_test
async def test_the_groups_of_a_stream_are_claimed_by_the_commits_that_store_them(new: NewStore, clock: Clock) -> None:
    observer = RecordingObserver()
    starts = range(1, 5 * MAX_BATCH, MAX_BATCH)
    groups = [pack(*map(new_order, range(first, first + MAX_BATCH))) for first in starts]
    async with opened(new.store, clock, observer=observer) as service:
        await service.start()
        stored: list[asyncio.Task[list[InsertResult]]] = []
        for group in groups:
            stored.append(asyncio.create_task(service.insert_many(group)))
            for _ in range(10):  # until the group is sent to the store
                await next_loop_iteration()
            if len(stored) > 1:
                await stored[-2]  # like a stream, which has at most two groups in memory
        assert [await each for each in stored] == [[Insertion.ACCEPTED] * MAX_BATCH] * len(groups)
        while (await service.totals()).completed < len(groups) * MAX_BATCH:
            await next_loop_iteration()
    ids = range(1, len(groups) * MAX_BATCH + 1)
    for status in (Status.PROCESSING, Status.COMPLETED):
        assert [change.order_id for change in observer.changes if change.status is status] == list(ids)
    assert len(observer.changes) == 2 * len(ids)


class BrokenObserver(RecordingObserver):
    """Records calls, and raises an error in each of them."""

    def batch_written(self, batch: Sequence[AnyWrite], results: Sequence[WriteResult | BaseException]) -> None:
        super().batch_written(batch, results)
        raise OSError("metrics")

    def second_passed(self) -> None:
        super().second_passed()
        raise OSError("metrics")

    def attempts_counted(self, *, in_time: int, overdue: int) -> None:
        super().attempts_counted(in_time=in_time, overdue=overdue)
        raise OSError("metrics")

    def storage_checked(self, status: StorageStatus, totals: Totals | None) -> None:
        super().storage_checked(status, totals)
        raise OSError("metrics")


@pytest.mark.gen_test
async def test_errors_of_the_observer_are_logged_and_end_neither_the_processing_nor_the_tasks_of_each_second(
    new: NewStore, clock: Clock, loop_time: LoopTime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    observer = BrokenObserver()
    async with opened(new.store, clock, observer=observer) as service:
        await service.start()
        await service.insert(new_order(1))
        assert is_completed(await service.find_when_ended(1, 60))
        with new.locked():
            with pytest.raises(StorageBusyError):
                await service.insert(new_order(2))
            await pass_a_second(loop_time, observer)
            await observer.until(lambda: not observer.writable[-1])
        await pass_seconds_until_writes_work(loop_time, observer, caplog)
        assert observer.seconds > 1
    assert {record.exc_info[1].args for record in caplog.records if record.exc_info and record.exc_info[1]} == {
        ("metrics",)
    }


def is_completed(order: Order | None) -> bool:
    return order is not None and order.status is Status.COMPLETED


# Start


@pytest.mark.gen_test
async def test_orders_are_stored_before_the_start_and_processed_after_it(new: NewStore, clock: Clock) -> None:
    observer = RecordingObserver()
    async with opened(new.store, clock, observer=observer) as service:
        assert await service.insert(new_order(1)) is Insertion.ACCEPTED
        stored = await service.find(1)
        assert stored is not None
        assert stored.status is Status.PENDING
        await service.start()
        done = await service.find_when_ended(1, 60)
        assert done is not None
        assert done.status is Status.COMPLETED
    # Only after the service has closed: the order can be read from the database before the observer is called.
    assert [change.status for change in observer.changes] == [Status.PENDING, Status.PROCESSING, Status.COMPLETED]
    assert observer.attempts == [1]


@pytest.mark.gen_test
async def test_open_recovers_the_attempts_of_a_killed_process(
    new: NewStore, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    killed = ShorthandStore(new.store)
    killed.connect()
    killed.insert(new_order(1), new_order(2))
    killed.claim(1)
    killed.disconnect()
    async with opened(new.reopen(), clock) as service:
        recovered, other = [await service.find(order_id) for order_id in (1, 2)]
        assert recovered is not None
        assert other is not None
        assert (recovered.status, recovered.attempts) == (Status.PENDING, 1)
        assert recovered.error == "the process ended during the attempt"
        assert (other.status, other.attempts) == (Status.PENDING, 0)
    assert [text for text in caplog.messages if "recovered" in text] == [
        "recovered 1 attempts that were interrupted when the previous process ended"
    ]


# Observer


@pytest.mark.gen_test
async def test_the_observer_receives_each_batch_with_its_results(new: NewStore, clock: Clock) -> None:
    observer = RecordingObserver(wants_changes=False)
    async with opened(new.store, clock, observer=observer) as service:
        await service.insert(new_order(1))
        with pytest.raises(OrderConflictError):
            await service.insert(new_order(1, user_id=2))
    [(first, accepted), (second, [conflict])] = observer.batches[:2]
    assert (first, accepted) == ([new_order(1)], [Insertion.ACCEPTED])
    assert second == [new_order(1, user_id=2)]
    assert isinstance(conflict, OrderConflictError)
    assert len(observer.commits_s) == len(observer.batches)
    assert observer.changes == [], "wants_changes is false"


@pytest.mark.gen_test
async def test_the_observer_receives_a_failed_batch(new: NewStore, clock: Clock) -> None:
    observer = RecordingObserver()
    async with opened(new.store, clock, observer=observer) as service:
        with new.locked(), pytest.raises(StorageBusyError):
            await service.insert(new_order(1))
        await observer.until(lambda: len(observer.batches) == 1)
        [(batch, [error])] = observer.batches
        assert batch == [new_order(1)]
        assert isinstance(error, StorageBusyError)
        assert len(observer.commits_s) == 1
        assert observer.changes == []


class PausedGate(OpenGate):
    """A gate that is closed for an hour, or until `end_pause`."""

    def __init__(self) -> None:
        self._is_paused = True

    def max_open(self) -> int | None:
        return 0 if self._is_paused else None

    def opens_in_s(self) -> float:
        return 3_600.0 if self._is_paused else 0.0

    def end_pause(self) -> bool:
        was_paused, self._is_paused = self._is_paused, False
        return was_paused

    def state(self) -> GateState | None:
        return GateState(self._is_paused, {"busy": 1})


@pytest.mark.gen_test
async def test_a_paused_gate_is_reported_and_orders_stay_pending(new: NewStore, clock: Clock) -> None:
    observer = RecordingObserver()
    async with opened(new.store, clock, observer=observer, gate=PausedGate()) as service:
        await service.start()
        assert await service.insert(new_order(1)) is Insertion.ACCEPTED
        assert await service.totals() == Totals(1, 0, 0, 0, 0, 0, clock.now_us)
        assert observer.deliveries[0] == (True, {"busy": 1})


@pytest.mark.gen_test
async def test_to_resume_processing_also_ends_the_pause_of_the_gate(new: NewStore, clock: Clock) -> None:
    observer, gate = RecordingObserver(), PausedGate()
    async with opened(new.store, clock, observer=observer, gate=gate) as service:
        await service.start()
        await service.insert(new_order(1))
        assert await service.set_paused(True)
        assert gate.opens_in_s()
        assert await service.set_paused(False)
        await observer.until(lambda: observer.changes[-1].status is Status.COMPLETED)
        assert not await service.set_paused(False)


@pytest.mark.gen_test
async def test_a_pause_of_the_gate_alone_can_be_ended(new: NewStore, clock: Clock) -> None:
    observer = RecordingObserver()
    async with opened(new.store, clock, observer=observer, gate=PausedGate()) as service:
        await service.start()
        await service.insert(new_order(1))
        assert [await service.set_paused(False) for _ in range(2)] == [True, False]
        await observer.until(lambda: observer.changes[-1].status is Status.COMPLETED)


# Failed writes


@pytest.mark.gen_test
async def test_every_second_a_probe_detects_whether_writes_work_again(
    new: NewStore, clock: Clock, loop_time: LoopTime, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    observer = RecordingObserver()
    async with opened(new.store, clock, observer=observer) as service:
        with new.locked():
            with pytest.raises(StorageBusyError):
                await service.insert(new_order(1))
            await service.start()
            await pass_a_second(loop_time, observer)
            assert observer.writable[:2] == [False, False]
        await pass_seconds_until_writes_work(loop_time, observer, caplog)
        assert observer.seconds >= 3


@pytest.mark.gen_test
async def test_check_storage_probes_only_after_a_failed_write(new: NewStore, clock: Clock) -> None:
    async with opened(new.store, clock) as service:
        with new.locked():
            await service.check_storage()
            with pytest.raises(StorageBusyError):
                await service.insert(new_order(1))
            with pytest.raises(StorageBusyError):
                await service.check_storage()
        await service.check_storage()


@pytest.mark.gen_test
async def test_check_storage_raises_if_reads_fail_while_it_tests_writes(
    new: NewStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, is_up = new.store, {Work.READS: True, Work.WRITES: False}

    def probe(work: Work) -> None:
        if work is Work.READS:
            raise StorageUnavailableError("gone")
        is_up.update({Work.READS: False, Work.WRITES: True})

    # Replaced, because a real database can't be made to fail at this moment.
    monkeypatch.setattr(store, "is_up", is_up.get)
    async with opened(store, clock) as service:
        monkeypatch.setattr(store, "probe", probe)
        with pytest.raises(StorageUnavailableError):
            await service.check_storage()


# Stop and close


@pytest.mark.gen_test
async def test_stop_returns_running_orders_to_pending_and_ends_waits(new: NewStore, clock: Clock) -> None:
    processor, observer = BlockingProcessor(), RecordingObserver()
    async with opened(new.store, clock, runner=processor.on_threads(), observer=observer) as service:
        await service.start()
        await service.insert(new_order(1))
        await observer.until(lambda: bool(observer.changes) and observer.changes[-1].status is Status.PROCESSING)
        waiting = asyncio.ensure_future(service.find_when_ended(1, 60))
        await next_loop_iteration()
        assert service.waiting == 1
        assert await service.stop(0) == 1
        assert await waiting is not None
        order = await service.find(1)
        assert order is not None
        assert (order.status, order.attempts) == (Status.PENDING, 0)
        processor.release.set()


@pytest.mark.gen_test
async def test_stop_before_the_start_returns_at_once(new: NewStore, clock: Clock) -> None:
    async with opened(new.store, clock) as service:
        assert await service.stop(60) == 0
        assert await service.stop(60) == 0


@pytest.mark.gen_test
async def test_close_writes_all_accepted_orders(new: NewStore, clock: Clock) -> None:
    async with opened(new.store, clock) as service:
        accepted = [service.insert(new_order(order_id)) for order_id in range(1, 11)]
        await service.close()
        assert [insertion.result() for insertion in accepted] == [Insertion.ACCEPTED] * 10
    store = new.reopen()
    store.connect()
    assert store.totals().orders == 10
    store.disconnect()


@pytest.mark.sqlite
@pytest.mark.gen_test
async def test_close_can_be_called_twice_and_releases_the_database(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "orders.db"
    lock = DatabaseLock(path)
    lock.acquire()
    async with opened(SqliteStore(open_new_database(path), clock=clock, lock=lock), clock) as service:
        await service.start()
        await service.stop(5)
        await service.close()
        await service.close()
        for call in (lambda: service.insert(new_order(1)), lambda: service.find(1), lambda: service.cancel(1)):
            with pytest.raises(QueueClosedError):
                call()
        # Another server can open the database now.
        open_store(path, clock=clock).close()
    assert sorted(file.name for file in path.parent.iterdir()) == ["orders.db"]
