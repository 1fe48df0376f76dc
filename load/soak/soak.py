"""Owns one soak: its server, its day, its end, and what is found; on the main thread, with an event loop inside."""

import math
import re
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

from load.http.address import reach
from load.orders.generated import VariedOrders
from load.orders.sent_orders import SentOrders
from load.orders.sources import MAX_ID
from load.soak.closing import Closing, close_the_day
from load.soak.day import Day
from load.soak.minute import Minute
from load.soak.sample import Sample, take_sample
from load.soak.verdict import Finding, compare_minutes, compare_orders
from load.system.machine import describe_machine, folder_to_keep, run_to_end
from load.system.process_status import PROC
from load.system.server_process import DidNotEnd, ServerProcess

MINUTE_S = 60.0
FEWEST = 2
"""Minutes to compare."""
COMPLAINT = re.compile(r"^\S+ (?:WARNING|ERROR|CRITICAL) |^Traceback ")


class Soak:
    """One soak and what has come of it so far; `closing` is None until its end has been looked at.

    `complaints` are the warnings and errors in the server's log, and what was wrong with its end; they are there when
    `run` has ended.
    The database and the log are in a new folder in `folder`, which is removed if the soak has passed. `tell` is handed
    each minute as it ends.
    """

    def __init__(self, *, minutes: float, rate: float, seed: int, folder: Path, tell: Callable[[Minute], None]) -> None:
        self.closing: Closing | None = None
        self.day: Day | None = None
        self.complaints: list[str] = []
        self._minutes = minutes
        self._rate = rate
        self._seed = seed
        self._folder = folder
        self._tell = tell
        self._ledger = SentOrders(VariedOrders(first_id=1, count=MAX_ID))

    def run(self) -> None:
        """Start the server, live through the day and look at its end.

        DidNotStart, Unreachable, ServerGone, ProcessGone, DiskFailed, NoResponse, NoMetrics; KeyboardInterrupt.
        """
        with folder_to_keep(self._folder, prefix="load-soak-", is_wanted=lambda: not self.passed) as folder:
            database, log = folder / "orders.db", folder / "server.log"
            arguments = ["server.py", "--port", "0", "--database", str(database)]
            try:
                with ServerProcess(arguments, log=log, clock_s=time.monotonic) as server:
                    run_to_end(self._soak(server, database))
            except DidNotEnd as problem:
                self.complaints.append(str(problem))
            finally:
                self.complaints += _complaints(log)

    @property
    def findings(self) -> list[Finding]:
        """Give what can be said so far."""
        found: list[Finding] = []
        if self.day and len(self.day.minutes) >= FEWEST:
            found += compare_minutes(self.day.minutes, self.day.errors)
        if self.closing:
            found += compare_orders(self.closing, complaints=len(self.complaints))
        return found

    def to_json(self) -> dict[str, Any]:
        day = self.day
        return {
            "seed": self._seed,
            "rate": self._rate,
            "machine": describe_machine(self._folder),
            "warm_up": day and day.warm_up,
            "minutes": day.minutes if day else [],
            "errors": dict(day.errors) if day else {},
            "sent": len(self._ledger),
            "acknowledged": self._ledger.acknowledged,
            "closing": self.closing and asdict(self.closing),
            "findings": [finding.to_json() for finding in self.findings],
            "passed": self.passed,
        }

    @property
    def passed(self) -> bool:
        return self.closing is not None and all(finding.passed for finding in self.findings)

    async def _soak(self, server: ServerProcess, database: Path) -> None:
        def look() -> Sample:
            return take_sample(PROC / str(server.pid), database)

        sockets_before = look().sockets
        address = await reach(server.url)
        parts, part_s = split(self._minutes)
        self.day = Day(
            address,
            ledger=self._ledger,
            look=look,
            disk_file=database.with_name("disk"),
            rate=self._rate,
            parts=parts,
            part_s=part_s,
            seed=self._seed,
            tell=self._tell,
            clock_ns=time.perf_counter_ns,
        )
        await self.day.live()
        self.closing = await close_the_day(
            address,
            ledger=self._ledger,
            look=look,
            sockets_before=sockets_before,
            chance=Random(f"{self._seed} reading back"),
            clock_ns=time.perf_counter_ns,
        )


def split(minutes: float) -> tuple[int, float]:
    """Give how many parts so many minutes have, two at least, and how long each is: a minute, or somewhat less."""
    parts = max(FEWEST, math.ceil(minutes))
    return parts, minutes * MINUTE_S / parts


def _complaints(log: Path) -> list[str]:
    """Give the warnings and errors in the server's log, if there is one."""
    text = log.read_text(errors="replace") if log.exists() else ""
    return [line for line in text.splitlines() if COMPLAINT.match(line)]
