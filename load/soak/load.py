"""Loads a server with orders at a steady rate and with client sessions, and measures it minute by minute.

Before minute one, there is a warm-up as long as a minute. Before the warm-up, arrays of orders fill the server's event
log, which keeps up to 100,000 events. So the growth of the event log does not look like a leak. Runs on the event loop;
`measure_syncs` blocks, and runs on another thread.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from load.cli.command import print_line
from load.cli.errors import CommandError
from load.http.address import Address
from load.http.connection import NoResponse, Response, send_once
from load.http.connections import INTERRUPTED, Connections, RequestTiming, SendDelays
from load.orders.comparison import check_new
from load.orders.generated import SentOrders
from load.readback.backlog import Backlog
from load.readback.metrics import Metrics, NoMetrics
from load.soak.disk import measure_syncs
from load.soak.minute import Minute, MinuteRecorder, Sample
from load.soak.requests import SessionRequests
from load.soak.sessions import ORDER_CONNECTIONS, client_sessions

FILLING_ARRAYS = 60  # Each has 1,000 orders, and each order has at least two events: over 100,000 events in total.
MOST_WAITING = 2_000  # While more orders than this wait to be processed, no further array is sent.
SAMPLE_EVERY_S, SAMPLES_PER_MINUTE = 1.0, 20


@dataclass(kw_only=True)
class SoakLoad:
    """Loads a server for a warm-up and `parts` minutes of `part_s` seconds. Adds the minutes to `recorded`.

    `rate` is in orders per second. `disk_file` is written and synced to measure the disk.
    """

    address: Address
    ledger: SentOrders
    take_sample: Callable[[], Sample]
    disk_file: Path
    rate: float
    parts: int
    part_s: float
    seed: int
    recorded: list[Minute] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    clock_ns: Callable[[], int] = time.perf_counter_ns
    _delays: SendDelays = field(default_factory=SendDelays, init=False)
    _recorder: MinuteRecorder = field(default_factory=MinuteRecorder, init=False)
    _metrics: Metrics = field(default=Metrics(0, 0, 0), init=False)

    async def run(self) -> None:
        """Return when every order has a response.

        Raises CommandError if the server ends, stops responding or accepts no orders, or if a sync fails.
        """
        # The sessions read acknowledged orders, so there must be some before the sessions start.
        await self._send_array()
        if not self.ledger.acknowledged:
            raise CommandError(f"the server does not take orders: {next(iter(self.errors))}")
        loop, ended = asyncio.get_running_loop(), threading.Event()
        syncs = asyncio.to_thread(
            measure_syncs,
            self.disk_file,
            note=lambda sync_ns: loop.call_soon_threadsafe(self._recorder.syncs_ns.append, sync_ns),
            ended=ended,
        )
        sessions = client_sessions(self.address, ledger=self.ledger, seed=self.seed, report=self._report)
        try:
            async with asyncio.TaskGroup() as group:
                background = [group.create_task(each) for each in (syncs, *sessions)]
                with closing(Backlog(self.address, clock_ns=self.clock_ns)) as backlog:
                    for _ in range(FILLING_ARRAYS):
                        await self._send_array()
                        await self._read_metrics(backlog)
                        # Sessions that wait for an order would wait too long behind all of these orders.
                        if backlog.left > MOST_WAITING:
                            await backlog.wait(before=0)
                    await self._read_metrics(backlog)
                    begun_ns = self.clock_ns()
                    orders = group.create_task(self._send_orders(begun_ns))
                    for number in range(self.parts + 1):
                        minute_ns = begun_ns + int(number * self.part_s * 1e9)
                        await self._record_minute(number, minute_ns, backlog)
                await orders
                for task in background:
                    task.cancel()
        except ExceptionGroup as group_error:
            raise group_error.exceptions[0] from None
        finally:
            ended.set()

    async def _send_orders(self, begun_ns: int) -> None:
        def jobs() -> Iterator[tuple[int, int, bytes]]:
            for number in range(int((self.parts + 1) * self.part_s * self.rate)):
                [index] = self.ledger.take(1, is_sent=True)
                request = self.address.post("/order", self.ledger.orders.body(index))
                yield begun_ns + int(number * 1e9 / self.rate), index, request

        loop = Connections(self.address, count=ORDER_CONNECTIONS, delays=self._delays, clock_ns=self.clock_ns)
        with closing(loop):
            await loop.work_when_due(jobs(), answered=self._note_answer, unanswered=self._note_no_answer)
        if loop.gone:
            raise CommandError("the server has stopped answering")

    async def _send_array(self) -> None:
        request, check = next(SessionRequests(self.address, ledger=self.ledger, rng=Random(self.seed)).arrays())
        if problem := check(await send_once(self.address, request)):
            self._report(f"POST /orders: {problem}")

    async def _record_minute(self, number: int, begun_ns: int, backlog: Backlog) -> None:
        end_ns = begun_ns + int(self.part_s * 1e9)
        step_ns = int(min(SAMPLE_EVERY_S, self.part_s / SAMPLES_PER_MINUTE) * 1e9)
        orders_before, due_ns, cpu_before_s = self._metrics.orders, begun_ns, self.take_sample().cpu_s
        sent_before = len(self._delays.late_ns)
        now_ns = begun_ns
        while now_ns < end_ns:
            due_ns = min(end_ns, max(due_ns + step_ns, now_ns))
            await asyncio.sleep(max(0.0, (due_ns - self.clock_ns()) / 1e9))
            self._recorder.samples.append(self.take_sample())
            await self._read_metrics(backlog)
            now_ns = self.clock_ns()
        recorder, self._recorder = self._recorder, MinuteRecorder()
        minute = recorder.finish(
            str(number) if number else "warm-up",
            seconds=(self.clock_ns() - begun_ns) / 1e9,
            orders=self._metrics.orders,
            new=self._metrics.orders - orders_before,
            backlog=self._metrics.waiting,
            late_ns=self._delays.late_ns[sent_before:],
            cpu_s=recorder.samples[-1].cpu_s - cpu_before_s,
        )
        self.recorded.append(minute)
        print_line(minute.line)

    async def _read_metrics(self, backlog: Backlog) -> None:
        try:
            self._metrics = await backlog.poll()
        except (NoResponse, NoMetrics) as problem:
            self._report(f"reading the metrics: {problem}")

    def _note_answer(self, index: int, answer: Response, timing: RequestTiming) -> None:
        if problem := check_new(answer, self.ledger.orders.order_id(index)):
            self._report(f"POST /order: {problem}")
        else:
            self.ledger.note_acknowledged([index])
            self._recorder.latencies_ns.append(timing.from_due_ns)

    def _note_no_answer(self, index: int, reason: str) -> None:
        # A request that this program cancels is not an error of the server.
        if reason != INTERRUPTED:
            self._report(f"POST /order: {reason}")

    def _report(self, reason: str) -> None:
        self._recorder.errors[reason] += 1
        self.errors[reason] += 1
