"""The lease of a shared database is renewed each second, on the thread that writes."""

import asyncio
import threading
from pathlib import Path

import pytest

from models.order import Status
from models.sqlite.store import SqliteStore
from models.writes.insertion import NewOrder
from tests.loop_time import LoopTime
from tests.models.new_database import open_new_database
from tests.models.samples import Clock, new_order
from tests.workers.event_loop import next_loop_iteration
from tests.workers.recording_observer import RecordingObserver
from workers.processors.claim_gate import ClaimGate, OpenGate
from workers.processors.record import RecordRunner
from workers.service import OrderService
from workers.service_limits import ServiceLimits


class SharedStore(SqliteStore):
    """A store that another server also uses. The other server stores `theirs` before each call of `tend`."""

    theirs: NewOrder | None = None
    resumes: int | None = None

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(open_new_database(path), clock=clock)
        self.tending_threads: list[str] = []

    def tend(self) -> bool:
        self.tending_threads.append(threading.current_thread().name)
        if self.theirs:
            self.write([self.theirs])
        return True


def new_service(store: SharedStore, clock: Clock, gate: ClaimGate | None = None) -> OrderService:
    return OrderService(
        store=store,
        runner=RecordRunner(),
        observer=RecordingObserver(),
        limits=ServiceLimits(),
        clock=clock,
        gate=gate,
    )


@pytest.mark.gen_test
async def test_an_order_that_another_server_made_ready_is_processed(
    tmp_path: Path, clock: Clock, loop_time: LoopTime
) -> None:
    store = SharedStore(tmp_path / "orders.db", clock)
    store.theirs = new_order(1)
    service = new_service(store, clock)
    await service.open()
    await service.start()
    async with asyncio.timeout(10):
        await loop_time.advance(1.1)
        # `find_when_ended` waits only for orders that exist.
        while (order := await service.find_when_ended(1, 1)) is None:
            pass
    assert order.status is Status.COMPLETED
    await service.stop(5)
    await service.close()
    assert {name.partition("_")[0] for name in store.tending_threads} == {"writer"}


class RestrictedGate(OpenGate):
    """A gate whose pauses the test begins."""

    is_paused = False

    def max_open(self) -> int | None:
        return 0 if self.is_paused else None

    def end_pause(self) -> bool:
        was_paused, self.is_paused = self.is_paused, False
        return was_paused


@pytest.mark.gen_test
async def test_a_resume_by_another_server_ends_the_pause_of_the_gate(
    tmp_path: Path, clock: Clock, loop_time: LoopTime
) -> None:
    store, gate = SharedStore(tmp_path / "orders.db", clock), RestrictedGate()
    service = new_service(store, clock, gate)

    async def tend() -> None:
        count = len(store.tending_threads)
        await loop_time.advance(1.0)
        while len(store.tending_threads) == count:
            await next_loop_iteration()
        # This later call runs on the same thread. When it has ended, the result of `tend` has been used.
        assert await service.cancel(999) is None

    await service.open()
    await service.start()
    store.resumes = 7
    gate.is_paused = True
    await tend()
    await tend()
    # Only a resume after the start of this server counts.
    assert gate.is_paused
    await service.insert(new_order(1))
    store.resumes = 8
    await tend()
    async with asyncio.timeout(10):
        found = await service.find_when_ended(1, 10)
    assert found
    assert found.status is Status.COMPLETED
    assert not gate.is_paused
    # When this server itself has resumed processing, a pause of the gate that begins later does not end.
    await service.set_paused(False)
    gate.is_paused = True
    store.resumes = 9
    await tend()
    assert gate.is_paused
    store.resumes = 10
    await tend()
    assert not gate.is_paused
    await service.stop(5)
    await service.close()
