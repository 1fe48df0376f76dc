"""Owns the course of one run: connect, send, wait until all is processed, read back; on the event loop's thread."""

import asyncio
from collections.abc import Callable

from load.backlog import BacklogState, NotAllowed
from load.cli.progress import ProgressBar
from load.flags import KEY_VARIABLE
from load.http.address import Address, Unreachable, reach
from load.http.arrivals import Arrivals
from load.http.clients import Clients
from load.http.departures import Departures
from load.http.exchanges import Patience
from load.judge import Judge, JudgeOfMany, JudgeOfOne
from load.orders.sources import OrderSource
from load.processing import Processing
from load.readback import ReadBack
from load.results.result import Result
from load.sender import Batches, ClosedLoop, OpenLoop, Sender, requests_of
from load.settings import Settings
from load.system.machine import most_connections

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

    async def complete(self) -> Result:
        """Do all of it; when cancelled, give what there is and say so. Unreachable before anything is sent."""
        settings, timeout_s = self._settings, self._patience.connection_s
        self.result.started_ns = self._wall_clock_ns()
        try:
            address = await reach(settings.url, timeout_s=timeout_s, api_key=settings.api_key)
            processing = Processing(address, patience=self._patience, clock_ns=self._clock_ns, seen=self._note_backlog)
            try:
                await processing.look_first()
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
        tally = self.result.tally
        self.result.phase = "sending"
        self._begun_ns = self._clock_ns()
        cpu_begun_ns = self._cpu_clock_ns()
        sender = self._sender(address)
        requests = requests_of(self._source, address, bulk=self._settings.bulk)
        with self._progress.phase("Sending", total=len(self._source), done=lambda: tally.sent):
            async with processing.watching():
                try:
                    await sender.send(requests, self._judge())
                finally:
                    self._note_sending(sender, self._cpu_clock_ns() - cpu_begun_ns)
                    sender.close()

    def _note_sending(self, sender: Sender, used_ns: int) -> None:
        result, ended_s = self.result, self._since_begin_s()
        last_answer_s = (sender.last_answer_ns - self._begun_ns) / 1e9
        result.stopped_s = last_answer_s if sender.gone else None
        result.sending_s = self._sending_s(last_answer_s if result.tally.acknowledged else ended_s, ended_s)
        result.cpu_share = used_ns / 1e9 / ended_s

    def _sending_s(self, last_answer_s: float, ended_s: float) -> float:
        """Give the time that the figures are over: a closed loop's ends with the last answer.

        Waiting in vain for a server that has gone is not its speed. An open loop's has all that was due in it, answered
        or not, up to when the sending was given up.
        """
        settings, orders, sent = self._settings, len(self._source), self.result.tally.sent
        if settings.rate is None:
            return last_answer_s
        due_s = settings.warm_up_s + settings.duration_s if settings.duration_s else orders / settings.rate
        if sent < orders:
            due_s = max(sent / settings.rate, min(due_s, ended_s))
        return max(last_answer_s, due_s)

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

    async def _wait(self, processing: Processing) -> BacklogState:
        total = len(self.result.tally.acknowledged)
        if not total:
            return BacklogState.UNKNOWN
        self.result.phase = "waiting for the processing"
        with self._progress.phase("Processing", total=total, done=lambda: max(0, total - processing.left)):
            return await processing.wait()

    async def _read_back(self, address: Address, backlog: BacklogState, processed_ns: int | None) -> None:
        result, acknowledged = self.result, self.result.tally.acknowledged
        clients = self._clients(address, min(READ_CLIENTS, most_connections(), max(1, len(acknowledged))))
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
        processed_ns = reading.processed_ns or processed_ns
        if processed_ns is not None and not (verdict.unprocessed or verdict.unread or verdict.lost):
            result.waited_s = (processed_ns - self._begun_ns) / 1e9

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
