"""What the order service does once a second. Runs on the event loop."""

import contextlib
import logging
from collections.abc import Callable

from tornado.ioloop import PeriodicCallback

from models.clock import Clock
from models.database.health import Work
from models.errors import QueueClosedError, QueueFullError, StorageError
from models.order import Totals
from models.store import Store
from workers.dispatch.failure_log import FailureLog
from workers.idle_maintenance import IdleMaintenance
from workers.measurement_saving import MeasurementSaving
from workers.observer import ServiceObserver
from workers.processors.claim_gate import ClaimGate
from workers.processors.processor import AttemptRunner
from workers.safe_log import log_safely
from workers.store_threads import StoreThreads

SECOND_MS = 1_000

_log = logging.getLogger(__name__)


class PeriodicTasks:
    """Each second, reports the state to the observer, starts maintenance, and probes storage that has failed.

    Once a minute, saves what the observer has measured.
    """

    def __init__(
        self,
        *,
        store: Store,
        threads: StoreThreads,
        observer: ServiceObserver,
        failures: FailureLog,
        runner: AttemptRunner,
        gate: ClaimGate,
        maintenance: IdleMaintenance,
        clock: Clock,
    ) -> None:
        self._store = store
        self._threads = threads
        self._observer = observer
        self._failures = failures
        self._runner = runner
        self._gate = gate
        self._clock = clock
        self._maintenance = maintenance
        self._measurements = MeasurementSaving(threads=threads, observer=observer, clock=clock)
        self._timer = PeriodicCallback(self._run, SECOND_MS)

    async def start(self) -> None:
        """Runs the tasks now, and each second until `stop`."""
        await self._measurements.open()
        await self._run()
        self._timer.start()

    def stop(self) -> None:
        """Ends the tasks, and logs the last summary of failures. Can be called twice, and before `start`."""
        self._timer.stop()
        self._failures.log_summary()

    async def close(self) -> None:
        """Saves the last measurements. Must be called after `stop`, before the threads are closed. Can be called
        twice."""
        await self._measurements.close()

    async def _run(self) -> None:
        self._try(self._failures.log_summary)
        self._try(self._observer.second_passed)
        self._try(self._report_attempts)
        await self._report_storage()
        self._try(self._maintenance.second_passed)
        self._try(self._measurements.second_passed)
        # Last, so that the observer sees a failure even if the probe succeeds at once.
        self._try(self._probe_failed_storage)

    def _try(self, task: Callable[[], None]) -> None:
        """Does the task. If it fails, the other tasks must still be done."""
        try:
            task()
        except Exception as error:  # noqa: BLE001 - outermost exception handler of the task
            log_safely(_log, logging.ERROR, "%s failed", task, error=error)

    def _report_attempts(self) -> None:
        self._observer.attempts_counted(in_time=self._runner.in_time, overdue=self._runner.overdue)
        if gate_state := self._gate.state():
            self._observer.deliveries_read(is_paused=gate_state.is_paused, pauses=gate_state.pauses)

    async def _report_storage(self) -> None:
        try:
            totals: Totals | None = None
            with contextlib.suppress(StorageError):
                totals = await self._threads.totals.submit(None)
            self._observer.storage_checked(await self._threads.statuses.submit(None), totals)
        except (QueueFullError, QueueClosedError):
            pass  # too many requests wait, or the service has been closed in the meantime
        except Exception as error:  # noqa: BLE001 - outermost exception handler of the task
            log_safely(_log, logging.ERROR, "the state of the storage is not known", error=error)

    def _probe_failed_storage(self) -> None:
        for work in Work:
            # Also probes writes after somebody has set the wall clock, because only a write records this.
            if not self._store.is_up(work) or (work is Work.WRITES and self._clock.read_step() != self._clock.step_us):
                self._probe(work)

    def _probe(self, work: Work) -> None:
        """Starts a probe without waiting for it. So the service notices that storage works again, even without
        orders."""
        with contextlib.suppress(QueueFullError, QueueClosedError):
            # If a probe is running, all requests made in the meantime share the next probe.
            self._threads.probe(work).add_done_callback(lambda done: done.cancelled() or done.exception())
