"""`python -m load`: sends orders, waits until all are processed, reads them back, and writes the result.

A `Run` uses the event loop; everything else runs on the main thread, outside it.
"""

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import gettempdir

from rich.console import Console

from load.cli.command import Command, Output, ProgressBar, file_output, json_outputs, run_to_end
from load.cli.errors import ExitStatus
from load.cli.flags import STDOUT
from load.http.address import Address, Unreachable, reach
from load.http.connection import NoResponse
from load.http.connections import Connections, Timeouts
from load.orders.generated import GeneratedOrders, new_first_id
from load.orders.sources import OrderSource, ReplayedOrders, requests_of
from load.readback.backlog import Backlog, BacklogState
from load.readback.metrics import NoMetrics, NotAllowed
from load.readback.order_reader import OrderReader
from load.report.page import render
from load.results.counting import Recording, ResponseCounter
from load.results.result import Result
from load.results.summary import print_summary, to_json
from load.settings import KEY_VARIABLE, Settings, parse_settings
from load.system.machine import allow_connections, most_connections, new_folder
from load.system.server_process import ServerProcess

READ_CLIENTS = 64
SERVER = ("server.py",)


@dataclass(kw_only=True)
class Run:
    """Performs one run. `result` has what was measured so far.

    `cpu_clock_ns` returns the CPU time of this process, `wall_clock_ns` the time since 1970. Before the first order is
    sent, `print_line` is called with a line that says how many orders the server already has.
    """

    settings: Settings
    source: OrderSource
    timeouts: Timeouts
    print_line: Callable[[str], None]
    progress: ProgressBar = field(default_factory=ProgressBar)
    clock_ns: Callable[[], int] = time.perf_counter_ns
    cpu_clock_ns: Callable[[], int] = time.process_time_ns
    wall_clock_ns: Callable[[], int] = time.time_ns
    result: Result = field(init=False)
    _started_ns: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.result = Result(orders=len(self.source), warm_up_s=self.settings.warm_up_s)

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
            missing = f"requires an API key (--api-key or the environment variable {KEY_VARIABLE})"
            fault = "rejected this API key" if settings.api_key else missing
            raise Unreachable(f"{settings.url} {fault}: status {refusal.status}") from None
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
        connections = Connections(address, count=count, timeouts=self.timeouts, clock_ns=self.clock_ns)
        if settings.rate:
            started_ns, rate = self._started_ns, settings.rate
            result.delays = connections.delays
            result.delays.counted_from_ns = started_ns + int(settings.warm_up_s * 1e9)
            jobs = ((started_ns + int(first * 1_000_000_000 // rate), first, request) for first, request in requests)
            sending = connections.work_when_due(jobs, answered=counter.answered, unanswered=counter.unanswered)
        elif settings.batch:
            sending = _send_batches(connections, requests, counter, size=settings.batch)
        else:
            sending = connections.work(requests, answered=counter.answered, unanswered=counter.unanswered)
        with self.progress.phase("Sending", total=len(source), done=lambda: result.tally.sent):
            async with backlog.watching():
                try:
                    await sending
                finally:
                    self._note_sending(connections, self.cpu_clock_ns() - cpu_started_ns)
                    connections.close()

    def _note_sending(self, connections: Connections, cpu_ns: int) -> None:
        """Record how long the sending took.

        The sending ends with the last response. So if the server stops, the time until this is noticed does not count.
        In an open loop, the sending lasts at least until the due time of the last request that was sent.
        """
        result, settings, ended_s = self.result, self.settings, self._seconds_since_start()
        last_answer_s = (connections.last_answer_ns - self._started_ns) / 1e9
        result.stopped_s = last_answer_s if connections.gone else None
        result.cpu_share = cpu_ns / 1e9 / ended_s
        result.sending_s = last_answer_s if result.tally.acknowledged else ended_s
        if settings.rate:
            orders, sent = len(self.source), result.tally.sent
            due_s = settings.warm_up_s + settings.duration_s if settings.duration_s else orders / settings.rate
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
    clients: Connections, requests: Iterator[tuple[int, bytes]], counter: ResponseCounter, *, size: int
) -> None:
    while not clients.gone and (batch := list(islice(requests, size))):
        await clients.work(iter(batch), answered=counter.answered, unanswered=counter.unanswered)


def _other_orders_line(settings: Settings, before: int | None, added: int) -> str:
    count = "an unknown number of" if before is None else f"{before:,}" if before else "no"
    others = f"{count} other order{'' if before == 1 else 's'}"
    return f"{settings.url} holds {others}; this run adds {added:,} that stay there."


def main(argv: Sequence[str], *, timeouts: Timeouts | None = None, server: Sequence[str] = SERVER) -> int:
    """Run the load generator and return its exit status. --own-server starts Python with the arguments `server`."""
    # Without a handler, Python would print Tornado's warnings about failed connections. The result counts the failures.
    logging.getLogger("tornado").addHandler(logging.NullHandler())
    return Load(parse_settings(argv, os.environ), timeouts=timeouts or Timeouts(), server=server).execute()


class Load(Command):
    """The command `python -m load`. With --own-server, Python starts the server with the arguments `server`."""

    def __init__(self, settings: Settings, *, timeouts: Timeouts, server: Sequence[str]) -> None:
        super().__init__(prog="python -m load")
        self._settings = settings
        self._timeouts = timeouts
        self._server = server
        self._result: Result | None = None
        self._console = Console(stderr=settings.json == STDOUT)

    def run(self) -> ExitStatus:
        settings = self._settings
        source: OrderSource
        if settings.replay is not None:
            source = ReplayedOrders(settings.replay, limit=settings.orders, first_id=settings.first_id)
        else:
            first_id = settings.first_id or new_first_id(clock_ns=time.time_ns, random_bits=secrets.randbits)
            source = GeneratedOrders(first_id=first_id, count=settings.orders)
        flag = "--batch" if settings.batch else "--concurrency"
        allow_connections(settings.connections_for(len(source)), flag=flag)
        with self._own_server() if settings.own_server else nullcontext():
            run = Run(settings=self._settings, source=source, timeouts=self._timeouts, print_line=self._print_line)
            try:
                run_to_end(run.complete())
            except KeyboardInterrupt:
                self._result = run.result
                raise
            self._result = result = run.result
        if result.interrupted:
            return ExitStatus.INTERRUPTED
        return ExitStatus.PASSED if result.is_good else ExitStatus.FAILED

    @contextmanager
    def _own_server(self) -> Iterator[None]:
        """Run a server while the block runs, and keep its files if an order was lost or differs."""
        with new_folder(
            Path(gettempdir()), prefix="load-", is_wanted=self._found_faults, print_line=self._print_line
        ) as folder:
            command = [*self._server, "--port", "0", "--database", str(folder / "orders.db")]
            with ServerProcess(command, log=folder / "server.log") as server:
                self._settings = replace(self._settings, url=server.url)
                yield

    def _found_faults(self) -> bool:
        result = self._result
        return bool(result and (result.tally.wrong_202 or (result.read_back and not result.read_back.is_good)))

    def _print_line(self, line: str) -> None:
        self._console.print(line, soft_wrap=True, markup=False, highlight=False)

    def outputs(self) -> Sequence[Output]:
        settings, result = self._settings, self._result
        if result is None:
            return ()
        outputs = [Output("the result", lambda: print_summary(result, settings, self._console))]
        # The JSON is made when a file is written. If Ctrl-C interrupts this, a message names the files that are
        # missing.
        result_json = cache(lambda: to_json(result, settings))
        outputs += json_outputs(settings.json, result_json)
        if settings.report:
            outputs.append(file_output(settings.report, lambda: render(result_json())))
        return outputs
