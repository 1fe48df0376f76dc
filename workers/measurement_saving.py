"""Saves once a minute what this server has measured, for the charts. Runs on the event loop."""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from typing import Any

from models.clock import Clock
from models.database.health import Work
from models.errors import QueueClosedError, QueueFullError, StorageError
from workers.observer import ServiceObserver
from workers.safe_log import log_safely
from workers.store_threads import StoreThreads

SAVE_AFTER_S = 60
"""How many seconds pass between two saves. A crash loses the measurements since the last save."""
READ_BACK_S = 300
"""Each save also reads what all servers have saved for the intervals that began in this number of seconds."""

_log = logging.getLogger(__name__)


class MeasurementSaving:
    """Saves the measurements of the observer, and passes to it what other servers and earlier processes have saved.

    A save that fails is repeated a minute later. The store logs the failure.
    """

    def __init__(self, *, threads: StoreThreads, observer: ServiceObserver, clock: Clock) -> None:
        self._threads = threads
        self._observer = observer
        self._clock = clock
        self._seconds = 0
        self._is_everything_read = False
        self._running: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Reads all saved measurements. If this fails, the next save reads them."""
        await self._try(self._read())

    def second_passed(self) -> None:
        """Must be called each second. Does not wait for the save."""
        self._seconds += 1
        if self._seconds >= SAVE_AFTER_S and (self._running is None or self._running.done()):
            self._seconds = 0
            self._running = asyncio.ensure_future(self._try(self._save_and_read()))

    async def close(self) -> None:
        """Saves the last measurements, unless writes fail. Must be called before the threads are closed."""
        if self._running is not None:
            await self._running
        if self._threads.store.is_up(Work.WRITES):
            await self._try(self._save())

    async def _save_and_read(self) -> None:
        await self._save()
        await self._read()

    async def _save(self) -> None:
        measurements = self._observer.unsaved_measurements()
        if measurements:
            await self._threads.measurement_saves.submit((measurements, self._now_s()))
            self._observer.measurements_saved(measurements)

    async def _read(self) -> None:
        since_s = self._now_s() - READ_BACK_S if self._is_everything_read else 0
        self._observer.measurements_read(await self._threads.measurements.submit(since_s))
        self._is_everything_read = True

    async def _try(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            with contextlib.suppress(StorageError, QueueFullError, QueueClosedError):
                await work
        except Exception as error:  # noqa: BLE001 - outermost exception handler of the task
            log_safely(_log, logging.ERROR, "measurements were not saved or read", error=error)

    def _now_s(self) -> int:
        return self._clock.wall_time() // 1_000_000
