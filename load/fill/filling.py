"""Owns the making of a database file by servers that are started on it one after the other; on the main thread."""

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from load.cli.progress import ProgressBar
from load.fill.feeding import ARRAY_SIZE, CLIENTS, Feeding, NotFed, await_processing, count_orders
from load.http.address import Address, reach
from load.system.machine import run_to_end
from load.system.server_process import ServerProcess

# The last connection to close moves the log into the file.
STOP_S = 300.0
MAX_BACKLOG = 1_000_000_000
HOLDING = ("--processor", "load.fill.hold:hold", "--drain-timeout", "0")
"""Flags of a server whose orders stay Pending for good."""


@dataclass(frozen=True, kw_only=True)
class Filling:
    """A database file that is to have the orders 1 to `orders`, of which the last `pending` are left Pending."""

    database: Path
    orders: int
    pending: int = 0
    progress: ProgressBar

    def run(self) -> int:
        """Make the file, or go on with one that was begun, and give how many orders that added.

        NotFed, DidNotStart, DidNotEnd, Unreachable, NoAnswer and NoMetrics say why not. When it returns, no server
        runs and the file stands alone.
        """
        completed = self.orders - self.pending
        # By a server that processes nothing, or it would complete what is to stay Pending.
        before = self._serve(self._count, *HOLDING) if self.database.exists() else 0
        if before > self.orders:
            raise NotFed(f"{self.database} has {before:,} orders already, which are more than {self.orders:,}")
        added = 0
        if before <= completed:
            added = self._serve(lambda address: self._feed(address, upto=completed, is_processed=True))
        if self.pending:
            added += self._serve(lambda address: self._feed(address, upto=self.orders, is_processed=False), *HOLDING)
        return added

    def _serve(self, work: Callable[[Address], Coroutine[None, None, int]], *flags: str) -> int:
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
        """Have the server take what it has not got of the orders 1 to `upto`, and give how many these were."""
        before = await self._count(address)
        # Of the last ones that were under way when it was left off, some may be there and others before them not.
        first = max(0, before - CLIENTS * ARRAY_SIZE)
        feeding = Feeding(address, first_id=first + 1, count=upto - first, clock_ns=time.perf_counter_ns)
        what = "Storing" if is_processed else "Storing as Pending"
        with self.progress.phase(what, total=upto - first, done=lambda: feeding.taken):
            await feeding.send()
        if is_processed:
            await self._await_processing(address)
        if (there := await self._count(address)) != upto:
            raise NotFed(f"{self.database} has {there:,} orders, not {upto:,}: it was not begun by this program")
        return upto - before

    async def _count(self, address: Address) -> int:
        return await count_orders(address, clock_ns=time.perf_counter_ns)

    async def _await_processing(self, address: Address) -> None:
        left = [0]

        def note(waiting: int) -> None:
            left.append(waiting)

        with self.progress.phase("Processing", total=self.orders, done=lambda: self.orders - left[-1]):
            await await_processing(address, clock_ns=time.perf_counter_ns, seen=note)
