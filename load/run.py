"""Performs one run: sends orders, waits until all are processed, and reads them back. Runs on the event loop."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from load.backlog import Backlog, BacklogState, NoMetrics, NotAllowed
from load.cli.command import ProgressBar
from load.http.address import Address, Unreachable, reach
from load.http.connection import NoResponse
from load.http.connections import ClosedLoop, Connections, OpenLoop, SendDelays, Timeouts
from load.orders.sources import OrderSource, requests_of
from load.readback import OrderReader
from load.results.counting import Recording, ResponseCounter
from load.results.result import Result
from load.settings import KEY_VARIABLE, Settings
from load.system.machine import most_connections

READ_CLIENTS = 64


@dataclass(kw_only=True)
class Run:
    """Performs one run. `result` has what was measured so far.

    `cpu_clock_ns` returns the CPU time of this process, `wall_clock_ns` the time since 1970. Before the first order is
    sent, `print_line` is called with a line that says how many orders the server already has.
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
        self.result = Result(orders=len(self.source))

    async def complete(self) -> Result:
        """Perform the run and return its result, even if cancelled. Raises Unreachable before any order is sent."""
        settings, limit_s = self.settings, self.timeouts.connection_s
        self.result.started_ns = self.wall_clock_ns()
        try:
            address = await reach(settings.url, timeout_s=limit_s, api_key=settings.api_key)
            backlog = Backlog(address, timeouts=self.timeouts, clock_ns=self.clock_ns, on_poll=self._note_backlog)
            try:
                waiting_before = await self._poll_first(backlog)
                await self._send(address, backlog)
                state = await self._wait(backlog, waiting_before)
            finally:
                backlog.close()
            await self._read_back(address, state, backlog.processed_ns)
        except NotAllowed as refusal:
            raise Unreachable(_explain(refusal, settings)) from None
        except asyncio.CancelledError:
            self.result.interrupted = True
        return self.result

    async def _poll_first(self, backlog: Backlog) -> int:
        """Print how many orders the server has. Return how many are not processed, 0 if unknown. Raises NotAllowed."""
        orders, waiting = None, 0
        try:
            metrics = await backlog.poll(limit_s=self.timeouts.connection_s)
            orders, waiting = metrics.orders, metrics.waiting
        except NotAllowed:
            raise
        except (NoMetrics, NoResponse):
            # A server without metrics can still accept orders, and a slow server can still be measured.
            backlog.close()
        if not self.settings.own_server:
            self.print_line(_other_orders_line(self.settings, orders, len(self.source)))
        return waiting

    async def _send(self, address: Address, backlog: Backlog) -> None:
        settings, source, result = self.settings, self.source, self.result
        result.phase = "sending"
        self._started_ns = self.clock_ns()
        cpu_started_ns = self.cpu_clock_ns()
        result.recording = Recording(started_ns=self._started_ns)
        counter = ResponseCounter(source=source, tally=result.tally, recording=result.recording, bulk=settings.bulk)
        requests = requests_of(source, address, bulk=settings.bulk)
        count = settings.connections_for(len(source))
        connections: Connections
        if settings.rate:
            result.delays = SendDelays()
            connections = open_loop = OpenLoop(
                address, limit=count, timeouts=self.timeouts, delays=result.delays, clock_ns=self.clock_ns
            )
            started_ns, rate = self._started_ns, settings.rate
            jobs = ((started_ns + int(first * 1_000_000_000 // rate), first, request) for first, request in requests)
            sending = open_loop.work(jobs, answered=counter.answered, unanswered=counter.unanswered)
        else:
            connections = clients = ClosedLoop(address, count=count, timeouts=self.timeouts, clock_ns=self.clock_ns)
            if settings.batch:
                sending = _send_batches(clients, requests, counter, size=settings.batch)
            else:
                sending = clients.work(requests, answered=counter.answered, unanswered=counter.unanswered)
        with self.progress.phase("Sending", total=len(source), done=lambda: result.tally.sent):
            async with backlog.watching():
                try:
                    await sending
                finally:
                    self._note_sending(connections, self.cpu_clock_ns() - cpu_started_ns)
                    connections.close()

    def _note_sending(self, connections: Connections, cpu_ns: int) -> None:
        """Record how long the sending took.

        The sending ends with the last response. So if the server stops, the time until that is detected does not count.
        In an open loop, the sending lasts at least until the due time of the last request that was sent.
        """
        result, settings, ended_s = self.result, self.settings, self._seconds_since_start()
        last_answer_s = (connections.last_answer_ns - self._started_ns) / 1e9
        result.stopped_s = last_answer_s if connections.gone else None
        result.cpu_share = cpu_ns / 1e9 / ended_s
        result.sending_s = last_answer_s if result.tally.acknowledged else ended_s
        if settings.rate:
            orders, sent = len(self.source), result.tally.sent
            due_s = settings.duration_s or orders / settings.rate
            if sent < orders:
                due_s = max(sent / settings.rate, min(due_s, ended_s))
            result.sending_s = max(result.sending_s, due_s)

    async def _wait(self, backlog: Backlog, waiting_before: int) -> BacklogState:
        total = len(self.result.tally.acknowledged)
        if not total:
            return BacklogState.UNKNOWN
        self.result.phase = "waiting for the processing"
        with self.progress.phase("Processing", total=total, done=lambda: max(0, total - backlog.left)):
            return await backlog.wait(before=waiting_before, limit_s=self.timeouts.connection_s)

    async def _read_back(self, address: Address, backlog: BacklogState, processed_ns: int | None) -> None:
        result, acknowledged = self.result, self.result.tally.acknowledged
        reader = OrderReader(address=address, source=self.source, timeouts=self.timeouts, clock_ns=self.clock_ns)
        result.phase = "reading back"
        result.read_back = found = reader.result
        connections = min(READ_CLIENTS, most_connections(), max(1, len(acknowledged)))
        with self.progress.phase("Reading back", total=len(acknowledged), done=lambda: found.read):
            await reader.read(acknowledged, again=backlog is not BacklogState.STUCK, connections=connections)
        result.is_read = True
        processed_ns = reader.processed_ns or processed_ns
        if processed_ns is not None and not (found.unprocessed or found.unread or found.lost_ids):
            result.waited_s = (processed_ns - self._started_ns) / 1e9

    def _note_backlog(self, waiting: int) -> None:
        if self._started_ns:
            self.result.backlog.append((self._seconds_since_start(), waiting))

    def _seconds_since_start(self) -> float:
        return (self.clock_ns() - self._started_ns) / 1e9


async def _send_batches(
    clients: ClosedLoop, requests: Iterator[tuple[int, bytes]], counter: ResponseCounter, *, size: int
) -> None:
    while not clients.gone and (batch := list(islice(requests, size))):
        await clients.work(iter(batch), answered=counter.answered, unanswered=counter.unanswered)


def _other_orders_line(settings: Settings, before: int | None, added: int) -> str:
    count = "an unknown number of" if before is None else f"{before:,}" if before else "no"
    others = f"{count} other order{'' if before == 1 else 's'}"
    return f"{settings.url} holds {others}; this run adds {added:,} that stay there."


def _explain(refusal: NotAllowed, settings: Settings) -> str:
    missing = f"requires an API key (--api-key or the environment variable {KEY_VARIABLE})"
    return f"{settings.url} {'rejected this API key' if settings.api_key else missing}: status {refusal.status}"
