"""Owns what every trial works with: the servers, how often and how long, and the measures; on the loop's thread."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from load.backlog import Backlog, BacklogState
from load.bench.open_loop import Latency, measure_latency
from load.bench.pace import TIMEOUTS, Fault, Pace, measure_pace, no_fault
from load.bench.row import Row
from load.http.address import Address
from load.system.server_process import ServerProcess

CLIENTS = 64
# Long enough for what the turn before left to be done, such as the closing of its connections.
LEAD_IN_SHARE = 0.25
CLIENT_WAS_THE_LIMIT = "the client had no time left, the server may be faster"


class BacklogStuck(Exception):
    """The server does not process what it accepted, or doesn't say so: there is nothing to measure."""


@dataclass(frozen=True, kw_only=True)
class Measures:
    """How often and how long to measure, and by which clocks; `tell` is handed a line for every run.

    `seeded` gives the same random numbers for the same seed.
    """

    runs: int
    seconds: float
    tell: Callable[[str], None]
    clock_ns: Callable[[], int]
    cpu_clock_ns: Callable[[], int]
    children_cpu_clock_ns: Callable[[], int]
    seeded: Callable[[int], Random]

    async def pace(
        self,
        side: Address,
        requests: Iterator[bytes],
        *,
        status: int,
        clients: int = CLIENTS,
        seconds: float = 0.0,
        fault: Fault = no_fault,
    ) -> Pace:
        """Measure a side in closed loops, until the requests run out or for some seconds."""
        return await measure_pace(
            side,
            requests,
            clients=clients,
            status=status,
            clock_ns=self.clock_ns,
            cpu_clock_ns=self.cpu_clock_ns,
            seconds=seconds,
            fault=fault,
        )

    async def latency(
        self, side: Address, requests: Iterator[bytes], *, per_second: int, status: int, fault: Fault = no_fault
    ) -> Latency:
        """Measure a side in an open loop, for the length of a turn after a lead-in."""
        return await measure_latency(
            side,
            requests,
            clients=CLIENTS,
            per_second=per_second,
            seconds=self.seconds,
            status=status,
            clock_ns=self.clock_ns,
            cpu_clock_ns=self.cpu_clock_ns,
            fault=fault,
            lead_in_s=self.seconds * LEAD_IN_SHARE,
        )

    def backlog(self, side: Address) -> Backlog:
        """Give a look at what a side has still to process; to be closed."""
        return Backlog(side, timeouts=TIMEOUTS, clock_ns=self.clock_ns)

    async def settle(self, side: Address) -> float:
        """Wait until a side has processed everything and give how long that took, in seconds; else BacklogStuck."""
        backlog = self.backlog(side)
        begun_ns = self.clock_ns()
        try:
            if await backlog.wait(before=0) is not BacklogState.PROCESSED:
                raise BacklogStuck(f"{backlog.left} orders were not processed after the load")
        finally:
            backlog.close()
        return (self.clock_ns() - begun_ns) / 1e9

    def judge(self, row: Row, *paces: Pace) -> None:
        """Count in a row what was wrong with a run, and whether it counts."""
        for pace in paces:
            row.wrong.update(pace.wrong)
        if any(pace.client_was_the_limit for pace in paces):
            row.void[CLIENT_WAS_THE_LIMIT] += 1


@dataclass(frozen=True, kw_only=True)
class Trial(Measures):
    """Two servers that run and are compared."""

    other: Address
    """The other side; ours, too, where a trial compares it with itself."""
    ours: Address
    other_name: str = "bare"

    def record(self, row: Row, number: int, other: Pace, ours: Pace) -> None:
        """Add a run in which both sides did the same to a row whose value is ours against the other's."""
        self.judge(row, other, ours)
        ratio = ours.per_second / other.per_second if other.right else 0.0
        row.runs.append(
            {
                f"{self.other_name}_per_second": other.per_second,
                "ours_per_second": ours.per_second,
                "client_cpu_share": max(other.cpu_share, ours.cpu_share),
                "value": ratio,
            }
        )
        self.tell(
            f"run {number}: {self.other_name} {other.per_second:,.0f}/s, ours {ours.per_second:,.0f}/s,"
            f" ratio {ratio:.2f} {cost_and_faults(other, ours)}"
        )


@dataclass(frozen=True, kw_only=True)
class Launches(Measures):
    """A server that the trial itself starts, as often as it wants, on one database; `serve` takes further flags."""

    serve: Callable[..., ServerProcess]


def cost_and_faults(*paces: Pace) -> str:
    """Say what the client used of a core on each side, and what was wrong."""
    shares = " and ".join(f"{pace.cpu_share:.0%}" for pace in paces)
    faults = "".join(f", {reason}: {times}" for pace in paces for reason, times in pace.wrong.items())
    return f"(client's CPU {shares}){faults}"
