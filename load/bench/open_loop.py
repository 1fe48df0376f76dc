"""Owns the measuring of how long answers take at a steady rate, on the event loop's thread.

An open loop: each request is due at its time, however long the answers to those before it take.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from load.bench.pace import TIMEOUTS, Fault, Pace, fault_of, no_fault
from load.http.address import Address
from load.http.connections import RequestTiming
from load.http.open_loop import OpenLoop
from load.http.response import Response
from load.http.send_delays import SendDelays
from load.results.recording import percentile_of


@dataclass
class Latency(Pace):
    """A pace, how long every right answer took from when its request was due, and how late the client itself was.

    Both are in nanoseconds and in no order. The client's lateness is a part of what the answer took.
    """

    latencies_ns: list[int] = field(default_factory=list)
    late_ns: list[int] = field(default_factory=list)

    def add(self, other: Pace) -> None:
        super().add(other)
        if isinstance(other, Latency):
            self.latencies_ns += other.latencies_ns
            self.late_ns += other.late_ns

    def p99_ms(self) -> float:
        """Give the time in which 99 % of the answers came, in milliseconds; infinite when none did."""
        return _p99_ms(self.latencies_ns)

    def late_p99_ms(self) -> float:
        """Give the same for how late requests were sent that had a free connection; infinite when none had."""
        return _p99_ms(self.late_ns)


async def measure_latency(
    address: Address,
    requests: Iterator[bytes],
    *,
    clients: int,
    per_second: int,
    seconds: float,
    status: int,
    clock_ns: Callable[[], int],
    cpu_clock_ns: Callable[[], int],
    fault: Fault = no_fault,
    lead_in_s: float = 0.0,
) -> Latency:
    """Send `per_second` requests a second over up to `clients` new connections, for some seconds.

    Those within `lead_in_s` before, which open the connections, are not counted where they are right. Where all
    connections are busy, a request that is due waits, and its time runs. Answers with another status than `status`, or
    with a fault, are wrong.
    """
    latency, departures = Latency(), SendDelays()

    def judge(due_ns: int, answer: Response, timing: RequestTiming) -> None:
        reason = fault_of(answer, status=status, fault=fault)
        if reason:
            latency.wrong[reason] += 1
        elif due_ns >= first_ns:
            latency.right += 1
            latency.latencies_ns.append(timing.from_due_ns)

    def count_error(due_ns: int, reason: str) -> None:
        latency.wrong[reason] += 1

    lead_in, counted = int(lead_in_s * per_second), int(seconds * per_second)
    arrivals = OpenLoop(address, limit=clients, timeouts=TIMEOUTS, delays=departures, clock_ns=clock_ns)
    begun_ns, cpu_begun_ns = clock_ns(), cpu_clock_ns()
    first_ns = departures.counted_from_ns = begun_ns + lead_in * 1_000_000_000 // per_second
    dues_ns = (first_ns + number * 1_000_000_000 // per_second for number in range(-lead_in, counted))
    jobs = ((due_ns, due_ns, request) for due_ns, request in zip(dues_ns, requests, strict=False))
    try:
        await arrivals.work(jobs, answered=judge, unanswered=count_error)
        ended_ns = clock_ns()
        latency.elapsed_s = (ended_ns - first_ns) / 1e9
        latency.cpu_share = (cpu_clock_ns() - cpu_begun_ns) / (ended_ns - begun_ns)
    finally:
        arrivals.close()
    latency.late_ns = departures.late_ns.tolist()
    return latency


def _p99_ms(times_ns: list[int]) -> float:
    return percentile_of(sorted(times_ns), 99) / 1e6 if times_ns else float("inf")
