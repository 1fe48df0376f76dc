"""Owns the course of one run: connect, send, wait until all is processed, read back; on the event loop's thread."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from load.address import Address, Unreachable, reach
from load.arrivals import Arrivals
from load.backlog import Backlog, BacklogState, NoMetrics, NotAllowed
from load.clients import Clients
from load.connection import NoAnswer
from load.departures import Departures
from load.exchanges import Patience
from load.flags import KEY_VARIABLE
from load.judge import Judge, JudgeOfMany, JudgeOfOne
from load.orders import OrderSource
from load.progress import ProgressBar
from load.readback import ReadBack
from load.result import Result
from load.sender import Batches, ClosedLoop, OpenLoop, Sender, requests_of
from load.settings import Settings

READ_CLIENTS = 64


class Run:
    """One run; `result` holds what is known at any moment, so that an interrupted run can be shown.

    `wall_clock_ns` counts from 1970.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        source: OrderSource,
        patience: Patience,
        progress: ProgressBar,
        clock_ns: Callable[[], int],
        cpu_clock_ns: Callable[[], int],
        wall_clock_ns: Callable[[], int],
    ) -> None:
        self.result = Result(orders=len(source), warm_up_s=settings.warm_up_s)
        self._settings = settings
        self._source = source
        self._patience = patience
        self._progress = progress
        self._clock_ns = clock_ns
        self._cpu_clock_ns = cpu_clock_ns
        self._wall_clock_ns = wall_clock_ns
        self._begun_ns = 0
        self._waiting_before = 0

    async def complete(self) -> Result:
        """Do all of it; when cancelled, give what there is and say so. Unreachable before anything is sent."""
        settings, timeout_s = self._settings, self._patience.connection_s
        self.result.started_ns = self._wall_clock_ns()
        try:
            address = await reach(settings.url, timeout_s=timeout_s, api_key=settings.api_key)
            backlog = Backlog(address, patience=self._patience, clock_ns=self._clock_ns, seen=self._note_backlog)
            try:
                await self._look_first(backlog)
                await self._send(address, backlog)
                state = await self._wait(backlog)
            finally:
                backlog.close()
            await self._read_back(address, state)
        except asyncio.CancelledError:
            self.result.interrupted = True
        return self.result

    async def _look_first(self, backlog: Backlog) -> None:
        """Ask how many wait already, which also shows before an order is sent that a key is missing."""
        try:
            async with asyncio.timeout(self._patience.connection_s):
                self._waiting_before = (await backlog.look()).waiting
        except NotAllowed as refusal:
            raise Unreachable(_explain(refusal, self._settings)) from None
        except (NoMetrics, NoAnswer, TimeoutError):
            # A server without metrics may take orders all the same, and one that is slow is what is to be measured.
            backlog.close()

    async def _send(self, address: Address, backlog: Backlog) -> None:
        result, tally = self.result, self.result.tally
        result.phase = "sending"
        self._begun_ns = self._clock_ns()
        cpu_begun_ns = self._cpu_clock_ns()
        sender = self._sender(address)
        requests = requests_of(self._source, address, bulk=self._settings.bulk)
        try:
            with self._progress.phase("Sending", total=len(self._source), done=lambda: tally.sent):
                async with self._watching(backlog):
                    await sender.send(requests, self._judge())
        finally:
            # Up to the last answer: waiting in vain for a server that has gone is not its speed.
            ended_ns = sender.last_answer_ns if tally.acknowledged else self._clock_ns()
            result.sending_s = (ended_ns - self._begun_ns) / 1e9
            result.cpu_share = (self._cpu_clock_ns() - cpu_begun_ns) / (self._clock_ns() - self._begun_ns)
            sender.close()

    def _sender(self, address: Address) -> Sender:
        settings = self._settings
        connections = min(settings.concurrency, -(-len(self._source) // (settings.bulk or 1)))
        if settings.rate:
            departures = Departures(counted_from_ns=self._begun_ns + int(settings.warm_up_s * 1e9))
            self.result.departures = departures
            arrivals = Arrivals(
                address, limit=connections, patience=self._patience, departures=departures, clock_ns=self._clock_ns
            )
            return OpenLoop(arrivals, per_second=settings.rate, begun_ns=self._begun_ns)
        clients = self._clients(address, connections)
        return Batches(clients, size=settings.batch) if settings.batch else ClosedLoop(clients)

    def _judge(self) -> Judge:
        source, tally, recording, begun_ns = self._source, self.result.tally, self.result.recording, self._begun_ns
        if self._settings.bulk is None:
            return JudgeOfOne(source=source, tally=tally, recording=recording, begun_ns=begun_ns)
        size = self._settings.bulk
        return JudgeOfMany(source=source, tally=tally, recording=recording, begun_ns=begun_ns, size=size)

    @asynccontextmanager
    async def _watching(self, backlog: Backlog) -> AsyncIterator[None]:
        """Look at the backlog now and then while the block runs, once at least where the server answers that."""
        end = asyncio.Event()
        watch = asyncio.create_task(backlog.watch(end))
        try:
            yield
            end.set()
            await asyncio.wait({watch}, timeout=self._patience.connection_s)
        finally:
            if watch.cancel():
                backlog.close()

    async def _wait(self, backlog: Backlog) -> BacklogState:
        total = len(self.result.tally.acknowledged)
        if not total:
            return BacklogState.UNKNOWN
        self.result.phase = "waiting for the processing"
        with self._progress.phase("Processing", total=total, done=lambda: max(0, total - backlog.left)):
            return await backlog.wait(before=self._waiting_before)

    async def _read_back(self, address: Address, backlog: BacklogState) -> None:
        waited_s = self._since_begin_s()
        result, acknowledged = self.result, self.result.tally.acknowledged
        clients = self._clients(address, min(READ_CLIENTS, max(1, len(acknowledged))))
        reading = ReadBack(
            address=address,
            source=self._source,
            clients=clients,
            patience=self._patience,
            clock_ns=self._clock_ns,
        )
        result.phase = "reading back"
        result.verdict = verdict = reading.verdict
        try:
            with self._progress.phase("Reading back", total=len(acknowledged), done=lambda: verdict.read):
                await reading.read(acknowledged, again=backlog is not BacklogState.STUCK)
        finally:
            clients.close()
        result.is_read = True
        if not (verdict.unprocessed or verdict.unread or verdict.lost):
            result.waited_s = waited_s if reading.passes == 1 else self._since_begin_s()

    def _clients(self, address: Address, count: int) -> Clients:
        return Clients(address, count=count, patience=self._patience, clock_ns=self._clock_ns)

    def _note_backlog(self, waiting: int) -> None:
        if self._begun_ns:
            self.result.backlog.add(self._since_begin_s(), waiting)

    def _since_begin_s(self) -> float:
        return (self._clock_ns() - self._begun_ns) / 1e9


def _explain(refusal: NotAllowed, settings: Settings) -> str:
    if refusal.status == 403:
        return f"The API key may not read the metrics of {settings.url}: status 403"
    if settings.api_key:
        return f"{settings.url} does not know this API key: status 401"
    return f"{settings.url} wants an API key: --api-key or the environment variable {KEY_VARIABLE}: status 401"
