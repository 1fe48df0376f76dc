"""The lease of a shared database is renewed each second, on the thread that writes."""

import asyncio
import threading
from pathlib import Path

import pytest

from models.order import Status
from models.sqlite.store import SqliteStore
from models.writes import NewOrder
from tests.loop_time import LoopTime
from tests.models.new_database import open_new_database
from tests.models.samples import Clock, new_order
from tests.workers.recording_observer import RecordingObserver
from workers.processors.record import RecordRunner
from workers.service import OrderService
from workers.service_limits import ServiceLimits


class SharedStore(SqliteStore):
    """A store that another server also uses. It stores `theirs` before each call of `tend`."""

    theirs: NewOrder | None = None

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(open_new_database(path), clock=clock)
        self.tending_threads: list[str] = []

    def tend(self) -> bool:
        self.tending_threads.append(threading.current_thread().name)
        if self.theirs:
            self.write([self.theirs])
        return True


def new_service(store: SharedStore, clock: Clock) -> OrderService:
    return OrderService(
        store=store, runner=RecordRunner(), observer=RecordingObserver(), limits=ServiceLimits(), clock=clock
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
