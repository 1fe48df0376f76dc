"""Owns a shop's day in a nutshell: orders at a steady rate and everybody else, minute by minute; on the loop's thread.

Before the first minute comes a warm-up that is as long as one. Before that, while everybody else is there already,
arrays of orders fill the log of events, which keeps up to 100,000 (twice MAX_EVENTS of server.py) of them, lest its
filling be taken for a leak.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from random import Random
from typing import Any

from load.backlog import Metrics, NoMetrics
from load.http.address import Address
from load.http.connection import Connection, NoResponse, send_request
from load.http.connections import INTERRUPTED, RequestTiming, Timeouts
from load.http.open_loop import OpenLoop
from load.http.response import Response
from load.http.send_delays import SendDelays
from load.orders.sent_orders import SentOrders
from load.soak.amid import run_amid
from load.soak.crowd import POSTING, crowd
from load.soak.disk import keep_syncing
from load.soak.errands import Errands, fault_of_order, take_orders
from load.soak.minute import Book, Minute
from load.soak.sample import Sample

FILLING_ARRAYS = 60
"""Of 1,000 orders with two events each, at least, so that they fill the log of events."""
SAMPLE_S, SAMPLES_A_MINUTE = 1.0, 20


class ServerGone(Exception):
    """The server does not answer any more."""


class Day:
    """`parts` minutes of `part_s` seconds each, after the warm-up; `minutes` has those that are over.

    `look` gives a sample of the server; `disk_file`, beside its database, is made to see how long a sync takes.
    Everybody draws from the seed. `tell` is handed each minute.
    """

    def __init__(
        self,
        address: Address,
        *,
        ledger: SentOrders,
        look: Callable[[], Sample],
        disk_file: Path,
        rate: float,
        parts: int,
        part_s: float,
        seed: int,
        tell: Callable[[Minute], None],
        clock_ns: Callable[[], int],
    ) -> None:
        self.warm_up: Minute | None = None
        self.minutes: list[Minute] = []
        self.errors: Counter[str] = Counter()
        self._address = address
        self._ledger = ledger
        self._look = look
        self._disk_file = disk_file
        self._rate = rate
        self._parts = parts
        self._part_s = part_s
        self._seed = seed
        self._tell = tell
        self._clock_ns = clock_ns
        self._departures = SendDelays()
        self._metrics = Connection(address)
        self._book = Book()
        self._orders = self._backlog = self._sent_before = 0

    async def live(self) -> None:
        """Return when the last minute is over and every order has its answer; ServerGone, ProcessGone, DiskFailed.

        Whatever else a customer fails of is raised at once.
        """
        arrivals = OpenLoop(
            self._address, limit=POSTING, timeouts=Timeouts(), delays=self._departures, clock_ns=self._clock_ns
        )
        try:
            # The crowd asks for orders that are there.
            await self._fill(1)
            if not self._ledger.acknowledged:
                raise ServerGone(f"the server does not take orders: {next(iter(self.errors))}")
            syncing = keep_syncing(self._disk_file, note=lambda ns: self._book.note_sync(ns), clock_ns=self._clock_ns)
            await run_amid(self._pass_day(arrivals), [*self._crowd(), syncing])
        finally:
            arrivals.close()
            self._metrics.close()

    async def _pass_day(self, arrivals: OpenLoop) -> None:
        """Fill the log of events, then post orders at their rate while minute after minute passes."""
        await self._fill(FILLING_ARRAYS)
        await self._count()
        begun_ns = self._clock_ns()
        await run_amid(self._post(arrivals, begun_ns), [self._pass_minutes(begun_ns)], all_end=True)

    async def _post(self, arrivals: OpenLoop, begun_ns: int) -> None:
        await arrivals.work(self._jobs(begun_ns), answered=self._note_answer, unanswered=self._note_no_answer)
        if arrivals.gone:
            raise ServerGone("the server has stopped answering")

    async def _pass_minutes(self, begun_ns: int) -> None:
        for number in range(self._parts + 1):
            await self._pass_minute(number, begun_ns + int(number * self._part_s * 1e9))

    async def _fill(self, arrays: int) -> None:
        """Send arrays of orders, one after another."""
        errands = self._errands("filling").arrays()
        connection = Connection(self._address)
        try:
            for _ in range(arrays):
                request, fault = next(errands)
                if reason := fault(await send_request(connection, request)):
                    self._complain(f"POST /orders: {reason}")
        except NoResponse as problem:
            raise ServerGone(str(problem)) from None
        finally:
            connection.close()

    async def _pass_minute(self, number: int, begun_ns: int) -> None:
        """Take samples until the minute is over, and enter it."""
        end_ns = begun_ns + int(self._part_s * 1e9)
        step_ns = int(min(SAMPLE_S, self._part_s / SAMPLES_A_MINUTE) * 1e9)
        orders_before, due_ns, cpu_before_s = self._orders, begun_ns, self._look().cpu_s
        while due_ns < end_ns:
            due_ns = min(end_ns, max(due_ns + step_ns, self._clock_ns()))
            await asyncio.sleep(max(0.0, (due_ns - self._clock_ns()) / 1e9))
            sample = self._look()
            self._book.note_sample(sample)
            await self._count()
        book, self._book = self._book, Book()
        minute = book.close(
            str(number) if number else "warm-up",
            seconds=(self._clock_ns() - begun_ns) / 1e9,
            orders=self._orders,
            orders_before=orders_before,
            backlog=self._backlog,
            late_ns=self._departures.late_ns[self._sent_before :],
            cpu_s=sample.cpu_s - cpu_before_s,
        )
        self._sent_before = len(self._departures.late_ns)
        if number:
            self.minutes.append(minute)
        else:
            self.warm_up = minute
        self._tell(minute)

    async def _count(self) -> None:
        """Ask how many orders there are and how many wait."""
        try:
            metrics = Metrics.parse(await send_request(self._metrics, self._address.get("/metrics")))
        except NoResponse as problem:
            self._complain(f"GET /metrics: {problem}")
        except NoMetrics as problem:
            self._complain(str(problem))
        else:
            self._backlog, self._orders = metrics.waiting, metrics.orders

    def _jobs(self, begun_ns: int) -> Iterator[tuple[int, int, bytes]]:
        for number in range(int((self._parts + 1) * self._part_s * self._rate)):
            [index] = take_orders(self._ledger, 1)
            request = self._address.post("/order", self._ledger.orders.body(index))
            yield begun_ns + int(number * 1e9 / self._rate), index, request

    def _note_answer(self, index: int, answer: Response, timing: RequestTiming) -> None:
        fault = fault_of_order(answer, self._ledger.orders.order_id(index))
        if fault:
            self._complain(f"POST /order: {fault}")
        else:
            self._ledger.note_acknowledged([index])
            self._book.note_latency(timing.from_due_ns)

    def _note_no_answer(self, index: int, reason: str) -> None:
        # Whoever breaks the day off has no complaint about the server.
        if reason != INTERRUPTED:
            self._complain(f"POST /order: {reason}")

    def _complain(self, reason: str) -> None:
        self._book.errors[reason] += 1
        self.errors[reason] += 1

    def _errands(self, name: str) -> Errands:
        return Errands(self._address, ledger=self._ledger, chance=self._chance(name))

    def _chance(self, name: str) -> Random:
        return Random(f"{self._seed} {name}")

    def _crowd(self) -> Iterator[Coroutine[Any, Any, None]]:
        return crowd(self._address, errands=self._errands, chance=self._chance, complain=self._complain)
