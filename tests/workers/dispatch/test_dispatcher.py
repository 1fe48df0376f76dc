"""The dispatcher claims, processes and finishes orders. The store is in memory, the threads are real."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

import models.clock
from models.errors import StorageBusyError, StorageError, StorageUnavailableError
from models.order import Order, Status
from models.writes.attempts import ClaimedOrders, FinishAndClaim, Outcome
from tests.models.samples import SECOND_US, Clock
from tests.workers.event_loop import next_loop_iteration
from tests.workers.recording_observer import RecordingObserver
from workers.backoff import Backoff
from workers.dispatch.dispatcher import COLLECT_S, LAST_WRITE_S, MAX_CLAIM, MAX_NEW_CLAIM, MAX_SLEEP_S, Dispatcher
from workers.dispatch.failure_log import FailureLog
from workers.dispatch.retries import RetryPolicy
from workers.processors.claim_gate import ClaimGate, GateState, OpenGate
from workers.processors.functions.runner import FunctionRunner
from workers.processors.functions.worker_threads import Processor, WorkerThreads
from workers.processors.outcomes import NotSentError, Rejected, RetryLater
from workers.processors.processor import AttemptRunner
from workers.processors.record import RecordRunner

WORKERS = 2


CLOCK = models.clock.Clock()


class MemoryStore:
    """A store in memory, with only the method that the dispatcher uses. The writer's thread calls the method."""

    def __init__(self, count: int, clock: models.clock.Clock = CLOCK) -> None:
        self.orders: dict[int, Order] = {}
        self.due_us: dict[int, int] = {}
        self._clock = clock
        self.claimed: list[int] = []
        self.limits: list[int] = []
        self.new_limits: list[int | None] = []
        self.recorded: list[Outcome] = []
        self.errors: list[Exception] = []
        self.before_claim: Callable[[], object] = lambda: None
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self.add(count)

    def add(self, count: int) -> None:
        for sequence in range(len(self.orders) + 1, len(self.orders) + count + 1):
            self.orders[sequence] = Order(
                sequence, 100 + sequence, 1, [1], 1, None, Status.PENDING, 0, 0, None, 0, None
            )

    def finish_and_claim(self, write: FinishAndClaim) -> ClaimedOrders:
        try:
            self.before_claim()
            if self.errors:
                raise self.errors.pop(0)
            self.new_limits.append(write.new_limit)
            claimed = self._advance(write.outcomes, write.limit)
            return ClaimedOrders(claimed, min(self.due_us.values(), default=None))
        finally:
            self._loop.call_soon_threadsafe(self._changed.set)

    def _advance(self, outcomes: Sequence[Outcome], limit: int) -> list[Order]:
        self.recorded += outcomes
        self.limits.append(limit)
        for outcome in outcomes:
            order = self.orders[outcome.sequence]
            assert (order.status, order.claims) == (Status.PROCESSING, outcome.claim)
            self.orders[outcome.sequence] = replace(order, status=outcome.status, error=outcome.error)
            if outcome.due_us is not None:
                self.due_us[outcome.sequence] = outcome.due_us
        self.due_us = {sequence: due_us for sequence, due_us in self.due_us.items() if due_us > self._clock()}
        pending = [
            order
            for order in self.orders.values()
            if order.status is Status.PENDING and order.sequence not in self.due_us
        ][:limit]
        claimed = [
            replace(order, status=Status.PROCESSING, attempts=order.attempts + 1, claims=order.claims + 1)
            for order in pending
        ]
        self.orders.update((order.sequence, order) for order in claimed)
        self.claimed += [order.sequence for order in claimed]
        return claimed

    def statuses(self) -> list[Status]:
        return [order.status for order in self.orders.values()]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Returns when the condition is true. The condition is checked after each call of the store."""
        while not condition():
            await self._changed.wait()
            self._changed.clear()

    async def until_all_are(self, status: Status) -> None:
        await self.until(lambda: set(self.statuses()) == {status})


class GatedProcessor:
    """Completes orders. Each call waits for `release`. Counts the running orders."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.running = 0
        self.max_running = 0
        self._lock = threading.Lock()
        self._gate = threading.Semaphore(0)
        self._loop = asyncio.get_running_loop()
        self._begun = asyncio.Semaphore(0)

    def __call__(self, order: Order) -> None:
        with self._lock:
            self.calls.append(order.sequence)
            self.running += 1
            self.max_running = max(self.max_running, self.running)
        self._loop.call_soon_threadsafe(self._begun.release)
        self._gate.acquire()
        with self._lock:
            self.running -= 1

    async def begun(self, calls: int = 1) -> None:
        """Returns when `calls` more calls have begun since the last `begun`."""
        for _ in range(calls):
            await self._begun.acquire()

    def release(self, calls: int = 1_000) -> None:
        self._gate.release(calls)


class FailingProcessor:
    """Raises error number n in attempt number n of an order. The attempt after the last error completes the order."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = errors

    def __call__(self, order: Order) -> None:
        failed = order.attempts - 1
        if failed < len(self.errors):
            raise self.errors[failed]


class BrokenLog(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        raise OSError("no log")


@pytest.fixture
def writer() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(WORKERS) as executor:
        yield executor


class MemoryQueue:
    """A ClaimQueue that calls the store on the writer's thread."""

    def __init__(self, store: MemoryStore, writer: Executor, low_load: Callable[[], Awaitable[object]]) -> None:
        self._store = store
        self._writer = writer
        self._low_load = low_load

    def finish_and_claim(self, write: FinishAndClaim) -> Awaitable[ClaimedOrders]:
        return asyncio.get_running_loop().run_in_executor(self._writer, self._store.finish_and_claim, write)

    async def wait_for_low_load(self) -> None:
        await self._low_load()


def new_dispatcher(
    store: MemoryStore,
    runner: AttemptRunner,
    writer: Executor,
    *,
    delay_s: float = 0.0,
    clock: models.clock.Clock = CLOCK,
    backoff: Backoff | None = None,
    low_load: Callable[[], Awaitable[object]] = next_loop_iteration,
    gate: ClaimGate | None = None,
    collect_s: float = COLLECT_S,
    max_sleep_s: float = MAX_SLEEP_S,
    last_write_s: float = LAST_WRITE_S,
) -> Dispatcher:
    """A dispatcher with three attempts for each order, and `delay_s` seconds between them."""
    retry_backoff = Backoff(first_s=delay_s, max_s=delay_s)
    return Dispatcher(
        queue=MemoryQueue(store, writer, low_load),
        runner=runner,
        retry_policy=RetryPolicy(max_attempts=3, backoff=retry_backoff, clock=clock),
        failures=FailureLog(clock=lambda: 0.0),
        storage_backoff=backoff or Backoff(first_s=0, max_s=0),
        clock=clock,
        gate=gate or OpenGate(),
        observer=RecordingObserver(),
        collect_s=collect_s,
        max_sleep_s=max_sleep_s,
        last_write_s=last_write_s,
    )


async def until_writes_are_delivered(writer: Executor) -> None:
    """Returns when the dispatcher has received the result of every write that has begun."""
    await asyncio.get_running_loop().run_in_executor(writer, lambda: None)
    for _ in range(5):
        await next_loop_iteration()


@asynccontextmanager
async def dispatching(
    store: MemoryStore,
    processor: Processor | RecordRunner,
    writer: Executor,
    pool: Executor,
    *,
    start: bool = True,
    delay_s: float = 0.0,
    clock: models.clock.Clock = CLOCK,
    gate: ClaimGate | None = None,
    attempt_timeout_s: float | None = None,
    queue_s: float = 0.0,
    collect_s: float = COLLECT_S,
    max_sleep_s: float = MAX_SLEEP_S,
    last_write_s: float = LAST_WRITE_S,
) -> AsyncIterator[Dispatcher]:
    runner: AttemptRunner
    if isinstance(processor, RecordRunner):
        runner = processor
    else:
        workers = WorkerThreads(processor=processor, pool=pool)
        runner = FunctionRunner(workers=workers, places=WORKERS, timeout_s=attempt_timeout_s, queue_s=queue_s)
    dispatcher = new_dispatcher(
        store,
        runner,
        writer,
        delay_s=delay_s,
        clock=clock,
        gate=gate,
        collect_s=collect_s,
        max_sleep_s=max_sleep_s,
        last_write_s=last_write_s,
    )
    if start:
        dispatcher.start()
    try:
        yield dispatcher
        await dispatcher.stop(0)
    finally:
        runner.close()
        if isinstance(processor, GatedProcessor):
            processor.release()


@pytest.mark.gen_test
async def test_all_pending_orders_are_claimed_in_order_and_completed(writer: Executor, pool: Executor) -> None:
    store = MemoryStore(2_500)
    async with dispatching(store, RecordRunner(), writer, pool):
        await store.until_all_are(Status.COMPLETED)
        assert store.claimed == list(range(1, 2_501))
        assert sorted(outcome.sequence for outcome in store.recorded) == store.claimed


@pytest.mark.gen_test
async def test_more_new_orders_than_stored_orders_can_be_claimed_if_there_is_capacity(
    writer: Executor, pool: Executor
) -> None:
    store = MemoryStore(1)
    async with dispatching(store, RecordRunner(), writer, pool):
        await store.until_all_are(Status.COMPLETED)
        assert (store.limits, store.new_limits) == ([MAX_CLAIM] * 2, [MAX_NEW_CLAIM] * 2)
    store = MemoryStore(1)
    async with dispatching(store, GatedProcessor(), writer, pool):
        await store.until(lambda: bool(store.limits))
        assert (store.limits[0], store.new_limits[0]) == (WORKERS, None)


@pytest.mark.gen_test
async def test_wake_makes_the_dispatcher_claim_new_orders(writer: Executor, pool: Executor) -> None:
    store = MemoryStore(0)
    async with dispatching(store, RecordRunner(), writer, pool) as dispatcher:
        await store.until(lambda: len(store.limits) == 1)
        for _ in range(3):
            store.add(2)
            dispatcher.wake()
            await store.until_all_are(Status.COMPLETED)
        assert store.claimed == [1, 2, 3, 4, 5, 6]


@pytest.mark.gen_test
async def test_an_idle_dispatcher_does_not_call_the_store(writer: Executor, pool: Executor) -> None:
    store = MemoryStore(1)
    async with dispatching(store, RecordRunner(), writer, pool):
        await store.until_all_are(Status.COMPLETED)
        calls = len(store.limits)
        # The writer runs all earlier calls before this one.
        await asyncio.get_running_loop().run_in_executor(writer, lambda: None)
        assert (calls, len(store.limits)) == (2, 2)


@pytest.mark.gen_test
async def test_the_workers_do_not_run_more_orders_than_their_capacity(writer: Executor, pool: Executor) -> None:
    store, processor = MemoryStore(20), GatedProcessor()
    async with dispatching(store, processor, writer, pool):
        await processor.begun(WORKERS)
        assert store.statuses().count(Status.PROCESSING) == WORKERS
        processor.release(1)
        await processor.begun()
        assert store.statuses().count(Status.PROCESSING) <= WORKERS
        processor.release()
        await store.until_all_are(Status.COMPLETED)
        assert store.claimed == list(range(1, 21))
        assert (max(store.limits), processor.max_running) == (WORKERS, WORKERS)


@pytest.mark.gen_test
async def test_a_long_attempt_does_not_delay_the_others(writer: Executor, pool: Executor) -> None:
    store, processor = MemoryStore(5), GatedProcessor()
    async with dispatching(store, processor, writer, pool):
        await processor.begun(2)
        # Only one of the two threads is released, three times.
        for _ in range(3):
            processor.release(1)
            await processor.begun()
        assert store.statuses().count(Status.COMPLETED) >= 2
        processor.release()
        await store.until_all_are(Status.COMPLETED)


@pytest.mark.gen_test
async def test_outcomes_wait_for_others_while_more_than_half_of_the_queue_is_left(
    writer: Executor, pool: Executor
) -> None:
    store, processor = MemoryStore(20), GatedProcessor()
    # The mean duration is 1 s at first, so the queue has place for 12 orders.
    async with dispatching(store, processor, writer, pool, queue_s=12 / WORKERS, collect_s=3600.0):
        await processor.begun(WORKERS)
        processor.release(1)
        await processor.begun()
        await until_writes_are_delivered(writer)
        assert store.recorded == []


@pytest.mark.gen_test
async def test_outcomes_are_recorded_at_once_if_at_most_half_of_the_queue_is_left(
    writer: Executor, pool: Executor
) -> None:
    store, processor = MemoryStore(WORKERS + 6), GatedProcessor()
    async with dispatching(store, processor, writer, pool, queue_s=12 / WORKERS, collect_s=3600.0):
        await processor.begun(WORKERS)
        processor.release()
        await store.until_all_are(Status.COMPLETED)


@pytest.mark.gen_test
async def test_a_rejected_order_is_failed_with_the_reason(
    writer: Executor, pool: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore(3)
    async with dispatching(store, FailingProcessor(Rejected("no such card")), writer, pool):
        await store.until_all_are(Status.FAILED)
        assert {(order.error, order.attempts) for order in store.orders.values()} == {("no such card", 1)}
    # The worker threads log after they have reported their outcomes.
    pool.shutdown()
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.gen_test
async def test_an_order_is_retried_after_any_other_error(
    writer: Executor, pool: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore(3)
    async with dispatching(store, FailingProcessor(ValueError("one"), RetryLater(0)), writer, pool):
        await store.until_all_are(Status.COMPLETED)
        assert {order.attempts for order in store.orders.values()} == {3}
        assert sorted(outcome.error or "" for outcome in store.recorded) == sorted(
            ["ValueError: one", "to be tried again in 0 s", ""] * 3
        )
    caplog.clear()


@pytest.mark.gen_test
@pytest.mark.parametrize("error", [ValueError("three"), RetryLater(0, "three"), SystemExit("three")])
async def test_a_failed_order_keeps_the_error_of_its_last_attempt(
    writer: Executor, pool: Executor, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    store = MemoryStore(1)
    async with dispatching(store, FailingProcessor(OSError("one"), OSError("two"), error), writer, pool):
        await store.until_all_are(Status.FAILED)
        assert (store.orders[1].error or "").endswith("three")
        assert store.orders[1].attempts == 3
    caplog.clear()


class Unreadable(RetryLater):
    """An exception that raises an error at every access to an attribute."""

    def __init__(self) -> None:
        pass

    def __getattribute__(self, name: str) -> Any:
        raise ZeroDivisionError


class OddSyntaxError(SyntaxError):
    """A SyntaxError whose fields have types that Python does not expect."""

    def __init__(self) -> None:
        super().__init__("bad rule")
        fields: tuple[Any, ...] = "rules.cfg", "12", 7, "4"
        self.filename, self.lineno, self.text, self.offset = fields


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("kind", "text"),
    [(Unreadable, "RuntimeError: Unreadable, which can't be read"), (OddSyntaxError, "OddSyntaxError: bad rule")],
)
async def test_an_exception_that_raises_when_read_still_ends_its_attempt(
    writer: Executor, pool: Executor, caplog: pytest.LogCaptureFixture, kind: Callable[[], BaseException], text: str
) -> None:
    store = MemoryStore(5)
    async with dispatching(store, FailingProcessor(kind(), kind(), kind()), writer, pool):
        await store.until_all_are(Status.FAILED)
        assert {(order.error or "").partition(" (")[0] for order in store.orders.values()} == {text}
    caplog.clear()


@pytest.mark.gen_test
async def test_an_attempt_ends_even_if_logging_raises(writer: Executor, pool: Executor) -> None:
    handler = BrokenLog()
    logging.getLogger("workers").addHandler(handler)
    try:
        store = MemoryStore(5)
        async with dispatching(store, FailingProcessor(Rejected("no")), writer, pool):
            await store.until_all_are(Status.FAILED)
    finally:
        logging.getLogger("workers").removeHandler(handler)


@pytest.mark.gen_test
async def test_a_retry_begins_when_it_is_due_and_not_before(
    writer: Executor, pool: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore(1)
    begun_us: list[int] = []

    class Recorded(FailingProcessor):
        def __call__(self, order: Order) -> None:
            begun_us.append(CLOCK())
            super().__call__(order)

    async with dispatching(store, Recorded(OSError("one"), RetryLater(0.3)), writer, pool, delay_s=0.1):
        await store.until_all_are(Status.COMPLETED)
    due_us = [outcome.due_us or 0 for outcome in store.recorded[:2]]
    late_us = [begun - due for begun, due in zip(begun_us[1:], due_us, strict=True)]
    assert all(0 <= late < 1_000_000 for late in late_us)
    assert due_us[1] - begun_us[1] >= 300_000
    caplog.clear()


@pytest.mark.gen_test
async def test_a_waiting_retry_does_not_delay_other_orders(
    writer: Executor, pool: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore(WORKERS)
    processor = FailingProcessor(RetryLater(3_600))
    async with dispatching(store, processor, writer, pool) as dispatcher:
        await store.until(lambda: len(store.due_us) == WORKERS)
        processor.errors = ()
        store.add(1)
        dispatcher.wake()
        await store.until(lambda: store.statuses() == [Status.PENDING] * WORKERS + [Status.COMPLETED])
    caplog.clear()


@pytest.mark.gen_test
async def test_a_retry_begins_early_if_the_clock_is_set_forward(
    writer: Executor, pool: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    store = MemoryStore(1, clock)
    async with dispatching(store, FailingProcessor(RetryLater(3_600)), writer, pool, clock=clock, max_sleep_s=0.01):
        await store.until(lambda: len(store.due_us) == 1)
        await until_writes_are_delivered(writer)
        writes = len(store.limits)
        clock.now_us += 3_600 * SECOND_US
        await store.until_all_are(Status.COMPLETED)
        assert len(store.limits) <= writes + 3
    caplog.clear()


@pytest.mark.gen_test
async def test_an_earlier_retry_begins_in_time_beside_a_later_one(
    writer: Executor, pool: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore(1)
    processor = FailingProcessor(RetryLater(3_600))
    async with dispatching(store, processor, writer, pool, max_sleep_s=0.01) as dispatcher:
        await store.until(lambda: len(store.due_us) == 1)
        await until_writes_are_delivered(writer)
        processor.errors = (RetryLater(0.1),)
        store.add(1)
        dispatcher.wake()
        await store.until(lambda: store.statuses() == [Status.PENDING, Status.COMPLETED])
        # Two or three writes for the first order, and four for the second: claim, failure, retry and success.
        assert len(store.limits) <= 7
    caplog.clear()


@pytest.mark.gen_test
async def test_a_retry_due_while_all_threads_are_busy_begins_on_the_next_free_one(
    writer: Executor, pool: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    store, processor = MemoryStore(1, clock), GatedProcessor()
    store.due_us[1] = clock.now_us + SECOND_US
    async with dispatching(store, processor, writer, pool, clock=clock) as dispatcher:
        store.add(2 * WORKERS)
        dispatcher.wake()
        await processor.begun(WORKERS)
        clock.now_us += SECOND_US
        processor.release(1)
        await processor.begun(1)
        assert processor.calls == [2, 3, 1]
        processor.release()
        await store.until_all_are(Status.COMPLETED)


@pytest.mark.gen_test
async def test_a_dispatcher_that_waits_for_a_retry_does_not_call_the_store(
    writer: Executor, pool: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore(1)
    async with dispatching(store, FailingProcessor(RetryLater(0.2)), writer, pool, max_sleep_s=0.001):
        await store.until_all_are(Status.COMPLETED)
        # The writes are the claim, the failure, the retry and the success.
        assert len(store.limits) <= 4
    caplog.clear()


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "error", [StorageBusyError("locked"), StorageUnavailableError("disk is full"), RuntimeError("unforeseen")]
)
async def test_after_a_storage_error_the_write_is_repeated_with_all_outcomes(
    writer: Executor, pool: Executor, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    store, processor = MemoryStore(6), GatedProcessor()
    async with dispatching(store, processor, writer, pool):
        await processor.begun(2)
        store.errors = [error] * 3
        processor.release()
        await store.until_all_are(Status.COMPLETED)
        assert sorted(outcome.sequence for outcome in store.recorded) == [1, 2, 3, 4, 5, 6]
        assert store.claimed == [1, 2, 3, 4, 5, 6]
    # Storage errors are logged once and without details, because the store logs them, too.
    is_foreseen = isinstance(error, StorageError)
    stopped = ["processing stopped until writes of the database work again (unknown)"]
    assert caplog.messages == [
        *(stopped if is_foreseen else ["processing stopped: unforeseen"] * 3),
        "processing continues",
    ]
    assert all(bool(record.exc_info) != is_foreseen for record in caplog.records[:-1])


@pytest.mark.gen_test
async def test_the_backoff_grows_with_each_error_and_resets_after_a_success(
    writer: Executor, pool: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    class Recorded(Backoff):
        def __init__(self) -> None:
            super().__init__(first_s=0, max_s=0)
            self.failures: list[int] = []

        def delay_s(self, failures: int) -> float:
            self.failures.append(failures)
            return super().delay_s(failures)

    store, backoff = MemoryStore(1), Recorded()
    dispatcher = new_dispatcher(store, RecordRunner(), writer, backoff=backoff)
    store.errors = [StorageBusyError("locked")] * 2
    dispatcher.start()
    await store.until_all_are(Status.COMPLETED)
    store.add(1)
    store.errors = [StorageBusyError("locked")]
    dispatcher.wake()
    await store.until_all_are(Status.COMPLETED)
    await dispatcher.stop(5)
    assert backoff.failures == [1, 2, 1]
    caplog.clear()


@pytest.mark.gen_test
async def test_stop_waits_for_running_attempts_and_claims_no_orders(writer: Executor, pool: Executor) -> None:
    store, processor = MemoryStore(5), GatedProcessor()
    async with dispatching(store, processor, writer, pool) as dispatcher:
        await processor.begun(2)
        stopping = asyncio.ensure_future(dispatcher.stop(60))
        processor.release(1)
        await store.until(lambda: Status.COMPLETED in store.statuses())
        assert not stopping.done()
        processor.release()
        assert await stopping == 0
        assert store.statuses() == [Status.COMPLETED] * 2 + [Status.PENDING] * 3
        assert sorted(processor.calls) == [1, 2]


@pytest.mark.gen_test
async def test_after_its_time_out_stop_returns_running_orders_to_pending(writer: Executor, pool: Executor) -> None:
    store, processor = MemoryStore(5), GatedProcessor()
    async with dispatching(store, processor, writer, pool) as dispatcher:
        await processor.begun(2)
        assert await dispatcher.stop(0) == 2
        assert store.statuses() == [Status.PENDING] * 5
        assert {outcome.status for outcome in store.recorded} == {Status.PENDING}
        recorded = list(store.recorded)
    pool.shutdown()
    # The callbacks that the threads have scheduled with their outcomes run now.
    await next_loop_iteration()
    assert await dispatcher.stop(0) == 0
    await asyncio.get_running_loop().run_in_executor(writer, lambda: None)
    assert store.recorded == recorded


@pytest.mark.gen_test
async def test_stop_puts_back_orders_that_wait_for_a_thread_at_once(writer: Executor, pool: Executor) -> None:
    store, processor = MemoryStore(10), GatedProcessor()
    async with dispatching(store, processor, writer, pool, queue_s=3_600.0) as dispatcher:
        await processor.begun(WORKERS)
        assert store.statuses() == [Status.PROCESSING] * 10
        stopping = asyncio.ensure_future(dispatcher.stop(60))
        await store.until(lambda: store.statuses() == [Status.PROCESSING] * 2 + [Status.PENDING] * 8)
        assert store.recorded == [Outcome(sequence, 1, Status.PENDING) for sequence in range(3, 11)]
        processor.release()
        assert await stopping == 0
        assert store.statuses() == [Status.COMPLETED] * 2 + [Status.PENDING] * 8
        assert sorted(processor.calls) == [1, 2]


@pytest.mark.gen_test
async def test_stop_waits_until_the_outcomes_are_stored(
    writer: Executor, pool: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore(2)
    processor = GatedProcessor()
    async with dispatching(store, processor, writer, pool) as dispatcher:
        await processor.begun()
        store.errors = [StorageBusyError("locked")] * 5
        processor.release()
        assert await dispatcher.stop(60) == 0
        assert store.statuses() == [Status.COMPLETED] * 2
    caplog.clear()


@pytest.mark.gen_test
async def test_a_stop_that_can_not_store_outcomes_says_what_will_happen(
    writer: Executor, pool: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    store, processor = MemoryStore(2), GatedProcessor()
    async with dispatching(store, processor, writer, pool) as dispatcher:
        await processor.begun(2)
        store.errors = [StorageBusyError("locked")] * 100
        processor.release()
        await dispatcher.stop(0)
    assert caplog.messages[-1] == (
        "2 outcomes could not be stored: at the next start, these attempts count as interrupted, and each order is "
        "retried, or becomes Failed if this was its last attempt"
    )
    assert store.statuses() == [Status.PROCESSING] * 2


@pytest.mark.gen_test
async def test_stop_can_be_called_twice_and_concurrently(writer: Executor, pool: Executor) -> None:
    store = MemoryStore(3)
    async with dispatching(store, RecordRunner(), writer, pool) as dispatcher:
        await store.until_all_are(Status.COMPLETED)
        assert list(await asyncio.gather(dispatcher.stop(5), dispatcher.stop(5))) == [0, 0]
        assert await dispatcher.stop(5) == 0


@pytest.mark.gen_test
async def test_a_dispatcher_that_was_never_started_stops_at_once(writer: Executor, pool: Executor) -> None:
    store = MemoryStore(1)
    async with dispatching(store, RecordRunner(), writer, pool, start=False) as dispatcher:
        assert await dispatcher.stop(60) == 0
        assert store.statuses() == [Status.PENDING]


@pytest.mark.gen_test
async def test_a_dispatcher_stopped_right_after_its_start_claims_nothing(writer: Executor, pool: Executor) -> None:
    store = MemoryStore(3)
    async with dispatching(store, RecordRunner(), writer, pool) as dispatcher:
        assert await dispatcher.stop(60) == 0
        assert store.statuses() == [Status.PENDING] * 3


@pytest.mark.gen_test
async def test_orders_claimed_during_the_time_out_of_stop_are_returned(writer: Executor, pool: Executor) -> None:
    store, processor = MemoryStore(2), GatedProcessor()
    in_call, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def wait() -> None:
        loop.call_soon_threadsafe(in_call.set)
        go_on.wait()

    store.before_claim = wait
    async with dispatching(store, processor, writer, pool, last_write_s=0.2) as dispatcher:
        await in_call.wait()
        stopping = asyncio.ensure_future(dispatcher.stop(0))
        for _ in range(10):
            await next_loop_iteration()
        go_on.set()
        assert await stopping in (0, 2)
        assert store.statuses() == [Status.PENDING] * 2


@pytest.mark.gen_test
async def test_without_errors_nothing_is_logged(
    writer: Executor, pool: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore(10)
    async with dispatching(store, RecordRunner(), writer, pool):
        await store.until_all_are(Status.COMPLETED)
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []


@pytest.mark.gen_test
async def test_orders_are_claimed_again_if_no_thread_can_be_started(
    writer: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    refusals = iter([True, False, True, False])

    class RefusingPool(ThreadPoolExecutor):
        def submit(self, *arguments: Any, **options: Any) -> Any:
            if next(refusals, False):
                raise RuntimeError("can't start new thread")
            return super().submit(*arguments, **options)

    store = MemoryStore(3)
    with RefusingPool(WORKERS) as pool:
        async with dispatching(store, FailingProcessor(), writer, pool):
            await store.until_all_are(Status.COMPLETED)
    assert "can't start new thread" in caplog.text
    caplog.clear()


class BrokenRunner(RecordRunner):
    """Fails at the first call."""

    def __init__(self) -> None:
        self._waiting: Sequence[Order] = ()
        self._is_broken = True

    def start(self, orders: Sequence[Order]) -> None:
        if self._is_broken:
            self._is_broken = False
            self._waiting = orders
            raise OSError("a broken runner")
        super().start(orders)

    def withdraw(self) -> Sequence[Order]:
        withdrawn, self._waiting = self._waiting, ()
        return withdrawn


@pytest.mark.gen_test
async def test_orders_are_claimed_again_after_an_error_of_the_runner(
    writer: Executor, pool: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore(3)
    async with dispatching(store, BrokenRunner(), writer, pool):
        await store.until_all_are(Status.COMPLETED)
    assert caplog.messages == ["processing stopped: a broken runner"]
    assert caplog.records[0].exc_info


@pytest.mark.gen_test
async def test_orders_are_processed_after_an_error_even_if_logging_raises(
    writer: Executor, pool: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    handler = BrokenLog()
    logging.getLogger("orders").addHandler(handler)
    try:
        store = MemoryStore(3)
        store.errors = [StorageBusyError("locked"), RuntimeError("unforeseen")]
        async with dispatching(store, RecordRunner(), writer, pool):
            await store.until_all_are(Status.COMPLETED)
    finally:
        logging.getLogger("orders").removeHandler(handler)
    assert len(handler.lines) == 3


@pytest.mark.gen_test
async def test_claim_with_next_commit_claims_new_orders_without_wake(writer: Executor, pool: Executor) -> None:
    store = MemoryStore(0)
    async with dispatching(store, RecordRunner(), writer, pool) as dispatcher:
        await store.until(lambda: len(store.limits) == 1)
        await until_writes_are_delivered(writer)
        store.add(3)
        dispatcher.claim_with_next_commit()
        await store.until_all_are(Status.COMPLETED)
        assert store.claimed == [1, 2, 3]


@pytest.mark.gen_test
async def test_claim_with_next_commit_claims_once_and_for_free_threads_only(
    writer: Executor, pool: ThreadPoolExecutor
) -> None:
    store = MemoryStore(1)
    processor = GatedProcessor()
    async with dispatching(store, processor, writer, pool) as dispatcher:
        await processor.begun()
        await until_writes_are_delivered(writer)
        writes = len(store.limits)
        store.add(3)
        for _ in range(3):
            dispatcher.claim_with_next_commit()
        await processor.begun()
        await until_writes_are_delivered(writer)
        assert store.limits[writes:] == [1]
        for _ in range(3):
            dispatcher.claim_with_next_commit()
        await until_writes_are_delivered(writer)
        assert (store.limits[writes:], store.claimed) == ([1], [1, 2])
        processor.release()
        await store.until_all_are(Status.COMPLETED)
        assert processor.max_running == WORKERS


@pytest.mark.gen_test
async def test_claim_with_next_commit_claims_again_if_its_last_write_is_in_an_earlier_batch(
    writer: Executor, pool: Executor
) -> None:
    store = MemoryStore(0)
    async with dispatching(store, RecordRunner(), writer, pool) as dispatcher:
        await store.until(lambda: len(store.limits) == 1)
        await until_writes_are_delivered(writer)
        go_on = threading.Event()
        store.before_claim = go_on.wait
        for _ in range(2):
            dispatcher.claim_with_next_commit()
            dispatcher.claim_with_next_commit()
            dispatcher.batch_begins()
        go_on.set()
        await until_writes_are_delivered(writer)
        assert len(store.limits) == 3


@pytest.mark.gen_test
async def test_a_failed_claim_with_next_commit_reserves_no_threads(writer: Executor, pool: ThreadPoolExecutor) -> None:
    store = MemoryStore(0)
    processor = GatedProcessor()
    async with dispatching(store, processor, writer, pool) as dispatcher:
        await store.until(lambda: len(store.limits) == 1)
        await until_writes_are_delivered(writer)
        store.add(3)
        store.errors = [StorageBusyError("locked")]
        dispatcher.claim_with_next_commit()
        await store.until(lambda: not store.errors)
        await until_writes_are_delivered(writer)
        dispatcher.wake()
        # All threads are free again.
        await processor.begun(WORKERS)
        processor.release()
        await store.until_all_are(Status.COMPLETED)


@pytest.mark.gen_test
async def test_stop_returns_the_orders_of_a_claim_with_next_commit(writer: Executor, pool: Executor) -> None:
    store = MemoryStore(0)
    dispatcher = new_dispatcher(store, RecordRunner(), writer)
    dispatcher.start()
    await store.until(lambda: len(store.limits) == 1)
    await until_writes_are_delivered(writer)
    go_on = threading.Event()
    store.before_claim = go_on.wait
    store.add(2)
    dispatcher.claim_with_next_commit()
    stopping = asyncio.ensure_future(dispatcher.stop(5))
    await next_loop_iteration()
    go_on.set()
    assert await stopping == 0
    assert store.statuses() == [Status.PENDING] * 2
    dispatcher.claim_with_next_commit()
    await until_writes_are_delivered(writer)
    assert store.claimed == [1, 2]


@pytest.mark.gen_test
async def test_claim_with_next_commit_does_nothing_before_the_start(writer: Executor, pool: Executor) -> None:
    store = MemoryStore(1)
    async with dispatching(store, RecordRunner(), writer, pool, start=False) as dispatcher:
        dispatcher.claim_with_next_commit()
        await until_writes_are_delivered(writer)
        assert store.limits == []


@pytest.mark.gen_test
async def test_a_write_waits_for_low_load(writer: Executor, pool: Executor) -> None:
    store = MemoryStore(1)
    low_load = asyncio.Event()
    dispatcher = new_dispatcher(store, RecordRunner(), writer, low_load=low_load.wait)
    dispatcher.start()
    for _ in range(5):
        await next_loop_iteration()
    await until_writes_are_delivered(writer)
    assert store.limits == []
    low_load.set()
    await store.until_all_are(Status.COMPLETED)
    await dispatcher.stop(0)


class SetGate:
    """A gate that the test opens and closes."""

    def __init__(self, limit: int | None, *, opens_in_s: float = 0.0) -> None:
        self.limit = limit
        self.left_s = opens_in_s

    def max_open(self) -> int | None:
        return self.limit

    def opens_in_s(self) -> float:
        return self.left_s

    def end_pause(self) -> bool:
        return False

    def state(self) -> GateState | None:
        return None


@pytest.mark.gen_test
async def test_a_closed_gate_stops_claims_but_not_outcomes(writer: Executor, pool: Executor) -> None:
    store, processor, gate = MemoryStore(WORKERS + 1), GatedProcessor(), SetGate(None)
    async with dispatching(store, processor, writer, pool, gate=gate) as dispatcher:
        await processor.begun(WORKERS)
        gate.limit = 0
        processor.release()
        await store.until(lambda: store.statuses().count(Status.COMPLETED) == WORKERS)
        dispatcher.claim_with_next_commit()
        dispatcher.wake()
        await until_writes_are_delivered(writer)
        assert store.claimed == [1, 2]
        gate.limit = 1
        dispatcher.wake()
        await store.until_all_are(Status.COMPLETED)


@pytest.mark.gen_test
async def test_the_gate_limits_how_many_orders_are_claimed(writer: Executor, pool: Executor) -> None:
    store, processor = MemoryStore(5), GatedProcessor()
    async with dispatching(store, processor, writer, pool, gate=SetGate(1)):
        for _ in range(5):
            await processor.begun()
            processor.release(1)
        await store.until_all_are(Status.COMPLETED)
        assert (processor.max_running, max(store.limits)) == (1, 1)


@pytest.mark.gen_test
async def test_an_overdue_attempt_still_counts_towards_the_limit_of_the_gate(
    writer: Executor, pool: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    store, processor = MemoryStore(2), GatedProcessor()
    async with dispatching(
        store, processor, writer, pool, delay_s=3_600.0, gate=SetGate(1), attempt_timeout_s=0.01
    ) as dispatcher:
        await store.until(lambda: [outcome.error for outcome in store.recorded] == ["no result within 0.01 s"])
        dispatcher.wake()
        await until_writes_are_delivered(writer)
        assert store.claimed == [1]
        processor.release()
        await store.until(lambda: store.claimed == [1, 2])
    caplog.clear()


@pytest.mark.gen_test
async def test_the_dispatcher_claims_again_when_the_gate_opens(writer: Executor, pool: Executor) -> None:
    class OpensOnce(SetGate):
        def opens_in_s(self) -> float:
            left_s, self.left_s = self.left_s, 0.0
            self.limit = None if self.left_s == left_s else 0
            return left_s

    store = MemoryStore(3)
    async with dispatching(store, RecordRunner(), writer, pool, gate=OpensOnce(0, opens_in_s=0.01)):
        await store.until_all_are(Status.COMPLETED)


@pytest.mark.gen_test
async def test_an_order_that_was_not_sent_is_pending_again_without_a_log_line(
    writer: Executor, pool: Executor, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore(1)
    async with dispatching(store, FailingProcessor(NotSentError()), writer, pool):
        await store.until_all_are(Status.COMPLETED)
        assert store.recorded[0] == Outcome(1, 1, Status.PENDING, counts=False)
    assert caplog.records == []
