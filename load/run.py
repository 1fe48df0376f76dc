"""One run: connect, send, wait until all orders are processed, read them back. Runs on the event loop."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from load.backlog import BacklogState, NotAllowed
from load.cli.progress import ProgressBar
from load.http.address import Address, Unreachable, reach
from load.http.closed_loop import ClosedLoop
from load.http.connections import Connections, Timeouts
from load.http.open_loop import OpenLoop
from load.http.send_delays import SendDelays
from load.orders.sources import OrderSource
from load.processing import Processing
from load.readback import OrderReader
from load.results.counting import BulkCounter, PostCounter, ResponseCounter
from load.results.recording import Recording
from load.results.result import Result
from load.sender import requests_of, send_batches, with_due_times
from load.settings import KEY_VARIABLE, Settings
from load.system.machine import most_connections

READ_CLIENTS = 64


@dataclass(kw_only=True)
class Run:
    """One run; `result` has what is known at any moment, so that an interrupted run can be shown.

    `wall_clock_ns` counts from 1970. Before the first request, `print_line` is called with how many orders the server
    already has.
    """

    settings: Settings
    source: OrderSource
    timeouts: Timeouts
    progress: ProgressBar
    print_line: Callable[[str], None]
    clock_ns: Callable[[], int]
    cpu_clock_ns: Callable[[], int]
    wall_clock_ns: Callable[[], int]
    result: Result = field(init=False)
    _started_ns: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.result = Result(orders=len(self.source), warm_up_s=self.settings.warm_up_s)

    async def complete(self) -> Result:
        """Run to the end; when cancelled, return what is known. Unreachable before anything is sent."""
        settings = self.settings
        self.result.started_ns = self.wall_clock_ns()
        try:
            address = await reach(settings.url, timeout_s=self.timeouts.connection_s, api_key=settings.api_key)
            processing = Processing(address, timeouts=self.timeouts, clock_ns=self.clock_ns, seen=self._note_backlog)
            try:
                await processing.look_first()
                if not settings.own_server:
                    self.print_line(_stock_line(settings, processing.orders_before, len(self.source)))
                await self._send(address, processing)
                state = await self._wait(processing)
            finally:
                processing.close()
            await self._read_back(address, state, processing.processed_ns)
        except NotAllowed as refusal:
            raise Unreachable(_explain(refusal, settings)) from None
        except asyncio.CancelledError:
            self.result.interrupted = True
        return self.result

    async def _send(self, address: Address, processing: Processing) -> None:
        settings, tally = self.settings, self.result.tally
        self.result.phase = "sending"
        self._started_ns = self.clock_ns()
        cpu_started_ns = self.cpu_clock_ns()
        self.result.recording = Recording(started_ns=self._started_ns)
        counter = self._counter()
        requests = requests_of(self.source, address, bulk=settings.bulk)
        count = min(settings.concurrency, -(-len(self.source) // (settings.bulk or 1)))
        connections: Connections
        if settings.rate:
            delays = SendDelays(counted_from_ns=self._started_ns + int(settings.warm_up_s * 1e9))
            self.result.delays = delays
            connections = OpenLoop(address, limit=count, timeouts=self.timeouts, delays=delays, clock_ns=self.clock_ns)
            jobs = with_due_times(requests, per_second=settings.rate, started_ns=self._started_ns)
            sending = connections.work(jobs, answered=counter.answered, unanswered=counter.unanswered)
        else:
            connections = self._clients(address, count)
            sending = (
                send_batches(connections, requests, counter, size=settings.batch)
                if settings.batch
                else connections.work(requests, answered=counter.answered, unanswered=counter.unanswered)
            )
        with self.progress.phase("Sending", total=len(self.source), done=lambda: tally.sent):
            async with processing.watching():
                try:
                    await sending
                finally:
                    self._note_sending(connections, self.cpu_clock_ns() - cpu_started_ns)
                    connections.close()

    def _counter(self) -> ResponseCounter:
        source, tally, recording = self.source, self.result.tally, self.result.recording
        if self.settings.bulk is None:
            return PostCounter(source=source, tally=tally, recording=recording)
        return BulkCounter(source=source, tally=tally, recording=recording, size=self.settings.bulk)

    def _note_sending(self, connections: Connections, cpu_ns: int) -> None:
        result, ended_s = self.result, self._seconds_since_start()
        last_answer_s = (connections.last_answer_ns - self._started_ns) / 1e9
        result.stopped_s = last_answer_s if connections.gone else None
        result.sending_s = self._sending_s(last_answer_s if result.tally.acknowledged else ended_s, ended_s)
        result.cpu_share = cpu_ns / 1e9 / ended_s

    def _sending_s(self, last_answer_s: float, ended_s: float) -> float:
        """Return the time that the figures are over: a closed loop's ends with the last response.

        Waiting in vain for a server that is gone is not its speed. An open loop's time lasts at least until all that
        was sent was due, answered or not.
        """
        settings, orders, sent = self.settings, len(self.source), self.result.tally.sent
        if settings.rate is None:
            return last_answer_s
        due_s = settings.warm_up_s + settings.duration_s if settings.duration_s else orders / settings.rate
        if sent < orders:
            due_s = max(sent / settings.rate, min(due_s, ended_s))
        return max(last_answer_s, due_s)

    async def _wait(self, processing: Processing) -> BacklogState:
        total = len(self.result.tally.acknowledged)
        if not total:
            return BacklogState.UNKNOWN
        self.result.phase = "waiting for the processing"
        with self.progress.phase("Processing", total=total, done=lambda: max(0, total - processing.left)):
            return await processing.wait()

    async def _read_back(self, address: Address, backlog: BacklogState, processed_ns: int | None) -> None:
        result, acknowledged = self.result, self.result.tally.acknowledged
        clients = self._clients(address, min(READ_CLIENTS, most_connections(), max(1, len(acknowledged))))
        reader = OrderReader(
            address=address, source=self.source, clients=clients, timeouts=self.timeouts, clock_ns=self.clock_ns
        )
        result.phase = "reading back"
        result.read_back = found = reader.result
        try:
            with self.progress.phase("Reading back", total=len(acknowledged), done=lambda: found.read):
                await reader.read(acknowledged, again=backlog is not BacklogState.STUCK)
        finally:
            clients.close()
        result.is_read = True
        processed_ns = reader.processed_ns or processed_ns
        if processed_ns is not None and not (found.unprocessed or found.unread or found.lost):
            result.waited_s = (processed_ns - self._started_ns) / 1e9

    def _clients(self, address: Address, count: int) -> ClosedLoop:
        return ClosedLoop(address, count=count, timeouts=self.timeouts, clock_ns=self.clock_ns)

    def _note_backlog(self, waiting: int) -> None:
        if self._started_ns:
            self.result.backlog.add(self._seconds_since_start(), waiting)

    def _seconds_since_start(self) -> float:
        return (self.clock_ns() - self._started_ns) / 1e9


def _stock_line(settings: Settings, before: int | None, added: int) -> str:
    stay = "that stay there" if added > 1 else "that stays there"
    if before is None:
        return f"This run adds {added:,} orders to {settings.url} {stay}; how many it has is not known."
    others = f"{f'{before:,}' if before else 'no'} other orders" if before != 1 else "1 other order"
    return f"{settings.url} holds {others}; this run adds {added:,} {stay}."


def _explain(refusal: NotAllowed, settings: Settings) -> str:
    if refusal.status == 403:
        return f"The API key may not read the metrics of {settings.url}: status 403"
    if settings.api_key:
        return f"{settings.url} does not know this API key: status 401"
    return f"{settings.url} wants an API key: --api-key or the environment variable {KEY_VARIABLE}: status 401"
