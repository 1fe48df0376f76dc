"""When measurements for charts are saved and read."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from models.errors import StorageUnavailableError
from models.measurements import Measurement, Measures
from models.store import Store
from tests.models.new_store import NewStore, open_new_store
from tests.models.samples import Clock
from tests.models.shorthand_store import ShorthandStore, retry_at_once
from tests.workers.event_loop import next_loop_iteration
from tests.workers.recording_observer import RecordingObserver
from tests.workers.test_store_threads import NoHooks
from workers.measurement_saving import READ_BACK_S, SAVE_AFTER_S, MeasurementSaving
from workers.store_threads import StoreThreads

MEASURES = Measures(10.0, 3, 2, 1, 0, {7: 3}, {})


class FailingStore(ShorthandStore):
    """A store whose saves and reads of measurements fail while `is_failing`. `failures` counts them."""

    def __init__(self, store: Store, *, is_failing: bool) -> None:
        super().__init__(store)
        self.is_failing = is_failing
        self.failures = 0

    def save_measurements(self, measurements: Sequence[Measurement], *, now_s: int) -> None:
        self._fail()
        super().save_measurements(measurements, now_s=now_s)

    def measurements(self, *, since_s: int = 0) -> list[Measurement]:
        self._fail()
        return super().measurements(since_s=since_s)

    def _fail(self) -> None:
        if self.is_failing:
            self.failures += 1
            raise StorageUnavailableError


class Saver(NamedTuple):
    """A `MeasurementSaving` on a real store, and its observer."""

    saving: MeasurementSaving
    store: FailingStore
    observer: RecordingObserver

    def pass_a_minute(self) -> None:
        for _ in range(SAVE_AFTER_S):
            self.saving.second_passed()


@pytest.fixture
def new(tmp_path: Path, clock: Clock) -> Iterator[NewStore]:
    new = open_new_store(tmp_path / "orders.db", clock=clock)
    yield new
    new.give_back()


@asynccontextmanager
async def opened(store: Store, clock: Clock, *, is_failing: bool = False) -> AsyncIterator[Saver]:
    failing, observer = FailingStore(store, is_failing=is_failing), RecordingObserver()
    threads = StoreThreads(failing, observer=observer, hooks=NoHooks(), max_intake=10, max_backlog=10)
    await threads.open(retry_at_once, longest_delay_us=0)
    saver = Saver(MeasurementSaving(threads=threads, observer=observer, clock=clock), failing, observer)
    await saver.saving.open()
    try:
        yield saver
    finally:
        await saver.saving.close()
        await threads.close()


def measurement(clock: Clock, ago_s: int) -> Measurement:
    return Measurement(10, clock.now_us // 1_000_000 - ago_s, "a", MEASURES)


@pytest.mark.gen_test
async def test_measurements_are_saved_each_minute_and_read_back(new: NewStore, clock: Clock) -> None:
    async with opened(new.store, clock) as saver:
        observer = saver.observer
        assert observer.stored == [[]]
        old, recent = measurement(clock, READ_BACK_S + 10), measurement(clock, 10)
        observer.unsaved = [old, recent]
        for _ in range(SAVE_AFTER_S - 1):
            saver.saving.second_passed()
        await next_loop_iteration()
        assert observer.unsaved == [old, recent]
        saver.saving.second_passed()
        await observer.until(lambda: len(observer.stored) == 2)
        assert observer.unsaved == []
        # Other servers can have saved something in the meantime, but nothing that is older than READ_BACK_S.
        assert observer.stored[1] == [recent]
        saver.pass_a_minute()
        await observer.until(lambda: len(observer.stored) == 3)


@pytest.mark.gen_test
async def test_the_end_saves_the_last_measurements_and_the_start_reads_all(new: NewStore, clock: Clock) -> None:
    measured = [measurement(clock, READ_BACK_S + 10), measurement(clock, 10)]
    async with opened(new.store, clock) as saver:
        saver.observer.unsaved = [*measured]
    async with opened(new.reopen(), clock) as saver:
        assert saver.observer.stored == [measured]


@pytest.mark.gen_test
async def test_what_fails_is_repeated_after_a_minute(
    new: NewStore, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    old, recent = measurement(clock, READ_BACK_S + 10), measurement(clock, 10)
    async with opened(new.store, clock, is_failing=True) as saver:
        assert (saver.store.failures, saver.observer.stored) == (1, [])
        saver.observer.unsaved = [old, recent]
        saver.pass_a_minute()
        while saver.store.failures < 2:
            await next_loop_iteration()
        assert saver.observer.unsaved == [old, recent]
        saver.store.is_failing = False
        while not saver.observer.stored:
            saver.saving.second_passed()
            await next_loop_iteration()
        assert saver.observer.unsaved == []
        # The first read failed, so this one reads everything.
        assert saver.observer.stored == [[old, recent]]
    assert caplog.messages == []
