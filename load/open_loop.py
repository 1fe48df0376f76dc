"""Owns the measuring of how long answers take at a steady rate, on the event loop's thread.

An open loop: each request is due at its time, however long the answers to those before it take.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from load.address import Address
from load.connection import Connection, NoAnswer
from load.pace import PATIENCE, Fault, Pace, fault_of, no_fault
from load.percentile import percentile_of


@dataclass
class Latency(Pace):
    """A pace, how long every right answer took from when its request was due, and how late the client itself was.

    Both are in nanoseconds and in no order. The client's lateness is a part of what the answer took.
    """

    latencies_ns: list[int] = field(default_factory=list)
    late_ns: list[int] = field(default_factory=list)

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
    """Send `per_second` requests a second over `clients` new connections, for some seconds.

    The first request of each connection, and those within `lead_in_s` before, are not counted where they are right.
    Where all connections are busy, a request that is due waits, and its time runs. Answers with another status than
    `status`, or with a fault, are wrong.
    """
    lead_in, counted = int(lead_in_s * per_second), int(seconds * per_second)
    loop = _OpenLoop(status=status, fault=fault, clock_ns=clock_ns)
    connections = [Connection(address) for _ in range(clients)]
    try:
        await asyncio.gather(*map(loop.exchange, connections, islice(requests, clients)))
        begun_ns, cpu_begun_ns = clock_ns(), cpu_clock_ns()
        loop.first_ns = begun_ns + lead_in * 1_000_000_000 // per_second
        dues_ns = (loop.first_ns + number * 1_000_000_000 // per_second for number in range(-lead_in, counted))
        jobs = zip(dues_ns, requests, strict=False)
        await asyncio.gather(*(loop.serve(connection, jobs) for connection in connections))
        ended_ns = clock_ns()
        loop.latency.elapsed_s = (ended_ns - loop.first_ns) / 1e9
        loop.latency.cpu_share = (cpu_clock_ns() - cpu_begun_ns) / (ended_ns - begun_ns)
    finally:
        for connection in connections:
            connection.close()
    return loop.latency


class _OpenLoop:
    """What the clients of one measurement share; what is due before `first_ns` is not counted where it is right."""

    def __init__(self, *, status: int, fault: Fault, clock_ns: Callable[[], int]) -> None:
        self.latency = Latency()
        self.first_ns = 0
        self._status = status
        self._fault = fault
        self._clock_ns = clock_ns

    async def serve(self, connection: Connection, jobs: Iterator[tuple[int, bytes]]) -> None:
        """Send the requests when they are due, as far as others leave them."""
        for due_ns, request in jobs:
            begun_ns = self._clock_ns()
            is_free = begun_ns < due_ns
            if is_free:
                await asyncio.sleep((due_ns - begun_ns) / 1e9)
                # A loop's timers are exact to a millisecond, and may be early.
                begun_ns = self._clock_ns()
            if await self.exchange(connection, request) and due_ns >= self.first_ns:
                self.latency.right += 1
                self.latency.latencies_ns.append(self._clock_ns() - min(due_ns, begun_ns))
                if is_free:
                    self.latency.late_ns.append(max(0, begun_ns - due_ns))

    async def exchange(self, connection: Connection, request: bytes) -> bool:
        """Send one request and say whether its answer was right."""
        try:
            async with asyncio.timeout(PATIENCE.answer_s):
                answer = await connection.exchange(request)
            reason = fault_of(answer, status=self._status, fault=self._fault)
        except NoAnswer as problem:
            reason = str(problem)
        except TimeoutError:
            connection.close()
            reason = f"no answer within {PATIENCE.answer_s:g} s"
        if reason:
            self.latency.wrong[reason] += 1
        return not reason


def _p99_ms(times_ns: list[int]) -> float:
    return percentile_of(sorted(times_ns), 99) / 1e6 if times_ns else float("inf")
