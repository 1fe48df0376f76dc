"""Creates a database file with servers that run on it one after the other. Runs on the main thread."""

import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from load.backlog import Backlog, BacklogState
from load.cli.progress import ProgressBar
from load.fill.feeder import ARRAY_SIZE, CLIENTS, TIMEOUTS, FillFailed, OrderFeeder, count_orders
from load.http.address import Address, reach
from load.system.machine import run_to_end
from load.system.server_process import ServerProcess

# The last connection to close copies the write-ahead log into the file.
STOP_S = 300.0
MAX_BACKLOG = 1_000_000_000
HOLDING = ("--processor", "load.fill.hold:hold", "--drain-timeout", "0")
"""Flags of a server that leaves its orders Pending."""


@dataclass(frozen=True, kw_only=True)
class FillJob:
    """Fills a database file with the orders 1 to `orders`, and leaves the last `pending` of them Pending."""

    database: Path
    orders: int
    pending: int = 0
    progress: ProgressBar

    def run(self) -> int:
        """Create the file, or go on with one that was begun, and return how many orders that added.

        CommandError if that fails. Afterwards no server runs, and the file has no write-ahead log beside it.
        """
        completed = self.orders - self.pending
        # Counted by a server that processes nothing, or it would complete what is to stay Pending.
        before = self._with_server(count_orders, *HOLDING) if self.database.exists() else 0
        if before > self.orders:
            raise FillFailed(f"{self.database} has {before:,} orders already, which are more than {self.orders:,}")
        if before <= completed:
            self._with_server(lambda address: self._feed(address, upto=completed, is_processed=True))
        if self.pending:
            self._with_server(lambda address: self._feed(address, upto=self.orders, is_processed=False), *HOLDING)
        return self.orders - before

    def _with_server(self, work: Callable[[Address], Coroutine[None, None, int]], *flags: str) -> int:
        command = ["server.py", "--port", "0", "--database", str(self.database.resolve())]
        command += ["--max-backlog", str(MAX_BACKLOG), *flags]
        with (
            TemporaryDirectory(prefix="load-fill-") as folder,
            ServerProcess(command, log=Path(folder) / "log", clock_s=time.monotonic, stop_s=STOP_S) as server,
        ):

            async def reach_and_work() -> int:
                return await work(await reach(server.url))

            return run_to_end(reach_and_work())

    async def _feed(self, address: Address, *, upto: int, is_processed: bool) -> int:
        """Send the orders 1 to `upto` that the server does not have yet, and return how many it has then."""
        # Of the last arrays before an interruption, later ones may be stored and earlier ones not.
        first = max(0, await count_orders(address) - CLIENTS * ARRAY_SIZE)
        feeder = OrderFeeder(address, first_id=first + 1, count=upto - first, clock_ns=time.perf_counter_ns)
        phase = "Storing" if is_processed else "Storing as Pending"
        with self.progress.phase(phase, total=upto - first, done=lambda: feeder.taken):
            await feeder.send()
        if is_processed:
            await self._await_processing(address)
        if (count := await count_orders(address)) != upto:
            raise FillFailed(f"{self.database} has {count:,} orders, not {upto:,}: it was not begun by this program")
        return count

    async def _await_processing(self, address: Address) -> None:
        with (
            closing(Backlog(address, timeouts=TIMEOUTS, clock_ns=time.perf_counter_ns)) as backlog,
            self.progress.phase("Processing", total=self.orders, done=lambda: self.orders - backlog.left),
        ):
            if await backlog.wait(before=0) is not BacklogState.PROCESSED:
                raise FillFailed(f"{backlog.left} orders were not processed")
