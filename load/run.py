"""Owns the course of one run: send, wait until all is processed, read back; on the event loop's thread."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from load.address import Address
from load.backlog import Backlog, BacklogState
from load.clients import Clients, Patience
from load.machine import BUSY_SHARE
from load.orders import OrderSource
from load.progress import ProgressBar
from load.readback import ReadBack, Verdict
from load.sender import Sender, Tally

READ_CLIENTS = 64


@dataclass(kw_only=True)
class Result:
    """What a run found so far; times in seconds from the first request. None is what it did not come to."""

    orders: int
    tally: Tally = field(default_factory=Tally)
    elapsed_s: float | None = None
    cpu_share: float | None = None
    processed_s: float | None = None
    verdict: Verdict | None = None
    interrupted: bool = False

    @property
    def orders_per_second(self) -> float | None:
        """Acknowledged orders over the time that the sending took."""
        return self.tally.acknowledged / self.elapsed_s if self.elapsed_s else None

    @property
    def generator_was_the_limit(self) -> bool:
        """Whether this process used up a core while it sent: the server might have taken more."""
        return self.cpu_share is not None and self.cpu_share > BUSY_SHARE

    @property
    def is_good(self) -> bool:
        """Whether something was acknowledged and all of it is there as it was sent, and processed."""
        return self.tally.acknowledged > 0 and self.verdict is not None and self.verdict.is_good


class Run:
    """One run; `result` holds what is known at any moment, so that an interrupted run can be shown."""

    def __init__(
        self,
        *,
        address: Address,
        source: OrderSource,
        patience: Patience,
        progress: ProgressBar,
        clock_ns: Callable[[], int],
        cpu_clock_ns: Callable[[], int],
    ) -> None:
        self.result = Result(orders=len(source))
        self._address = address
        self._source = source
        self._patience = patience
        self._progress = progress
        self._clock_ns = clock_ns
        self._cpu_clock_ns = cpu_clock_ns
        self._begun_ns = 0

    async def complete(self, *, concurrency: int, batch: int | None) -> Result:
        """Do all of it; when cancelled, give what there is and say so."""
        try:
            await self._send(concurrency, batch)
            await self._read_back(await self._wait())
        except asyncio.CancelledError:
            self.result.interrupted = True
        return self.result

    async def _send(self, concurrency: int, batch: int | None) -> None:
        tally, orders = self.result.tally, len(self._source)
        clients = self._clients(min(concurrency, orders))
        sender = Sender(address=self._address, source=self._source, clients=clients, tally=tally)
        self._begun_ns = self._clock_ns()
        cpu_begun_ns = self._cpu_clock_ns()
        try:
            with self._progress.phase("Sending", total=orders, done=lambda: tally.sent):
                await (sender.send_in_batches(batch) if batch else sender.send())
        finally:
            # Up to the last answer: waiting in vain for a server that has gone is not its speed.
            ended_ns = clients.last_answer_ns if tally.acknowledged else self._clock_ns()
            self.result.elapsed_s = (ended_ns - self._begun_ns) / 1e9
            self.result.cpu_share = (self._cpu_clock_ns() - cpu_begun_ns) / (self._clock_ns() - self._begun_ns)
            clients.close()

    async def _wait(self) -> BacklogState:
        if not self.result.tally.acknowledged:
            return BacklogState.UNKNOWN
        backlog = Backlog(self._address, patience=self._patience, clock_ns=self._clock_ns)
        total = self.result.tally.acknowledged
        try:
            with self._progress.phase("Processing", total=total, done=lambda: max(0, total - backlog.left)):
                return await backlog.wait()
        finally:
            backlog.close()

    async def _read_back(self, backlog: BacklogState) -> None:
        waited_s = self._since_begin_s()
        tally = self.result.tally
        clients = self._clients(min(READ_CLIENTS, max(1, tally.acknowledged)))
        reading = ReadBack(
            address=self._address,
            source=self._source,
            clients=clients,
            patience=self._patience,
            clock_ns=self._clock_ns,
        )
        verdict = reading.verdict
        try:
            with self._progress.phase("Reading back", total=tally.acknowledged, done=lambda: verdict.read):
                await reading.read([*tally.accepted, *tally.duplicates], again=backlog is not BacklogState.STUCK)
        finally:
            clients.close()
        self.result.verdict = verdict
        if not (verdict.unprocessed or verdict.unread or verdict.lost):
            self.result.processed_s = waited_s if reading.passes == 1 else self._since_begin_s()

    def _clients(self, count: int) -> Clients:
        return Clients(self._address, count=count, patience=self._patience, clock_ns=self._clock_ns)

    def _since_begin_s(self) -> float:
        return (self._clock_ns() - self._begun_ns) / 1e9
