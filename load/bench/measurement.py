"""Measures a server's requests per second and latencies. Runs on the event loop."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from load.http.address import Address
from load.http.connection import Response
from load.http.connections import Connections, RequestTiming, Timeouts
from load.results.counting import percentile_of

CLIENTS = 64
TIMEOUTS = Timeouts(answer_s=30.0, connection_s=2.0, processing_s=30.0, poll_s=0.002)

Check = Callable[[Response], str]  # Returns what is wrong with a response, or an empty string.


def expect(status: int, check: Check = lambda response: "") -> Check:
    """Return a check that reports every status except `status`, and applies `check` to responses with `status`."""
    return lambda response: check(response) if response.status == status else f"status {response.status}"


@dataclass
class Measurement:
    """Counts and latencies of a server's responses.

    `right` counts correct responses. `wrong` counts failed requests by reason. `cpu_share` is the share of one core
    that the client used. `latencies_ns` has the latencies of correct responses: from when the request was due in an
    open loop, from when it was sent in a closed loop. In an open loop, `late_ns` has the delay of each request for
    which a connection was free. The client caused these delays, not the server. `empty_after_s` is how long the server
    took after the load to process all orders, if that was measured. `rounds` counts the calls of `add`.
    """

    right: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    elapsed_s: float = 0.0
    cpu_share: float = 0.0
    latencies_ns: list[int] = field(default_factory=list)
    late_ns: list[int] = field(default_factory=list)
    empty_after_s: float = 0.0
    rounds: int = 0

    @property
    def per_second(self) -> float:
        return self.right / self.elapsed_s

    @property
    def p99_ms(self) -> float:
        """The 99th percentile of the latencies; infinite if no response was correct."""
        return percentile_ms(self.latencies_ns, 99)

    @property
    def late_p99_ms(self) -> float:
        """The 99th percentile of `late_ns`; infinite if no request had a free connection."""
        return percentile_ms(self.late_ns, 99)

    def add(self, other: "Measurement") -> None:
        """Add the counts, times and latencies of `other` to this measurement."""
        elapsed_s = self.elapsed_s + other.elapsed_s
        self.cpu_share = (self.cpu_share * self.elapsed_s + other.cpu_share * other.elapsed_s) / elapsed_s
        self.right += other.right
        self.wrong += other.wrong
        self.elapsed_s = elapsed_s
        self.latencies_ns += other.latencies_ns
        self.late_ns += other.late_ns
        self.empty_after_s += other.empty_after_s
        self.rounds += 1

    def counter(self, check: Check, *, from_ns: int = 0) -> Callable[[int, Response, RequestTiming], None]:
        """Return a function that counts responses, except correct responses to requests due before `from_ns`."""

        def count(due_ns: int, response: Response, timing: RequestTiming) -> None:
            if fault := check(response):
                self.wrong[fault] += 1
            elif due_ns >= from_ns:
                self.right += 1
                self.latencies_ns.append(timing.from_due_ns)

        return count

    def note_unanswered(self, due_ns: int, reason: str) -> None:
        self.wrong[reason] += 1


@dataclass(frozen=True, kw_only=True)
class Meter:
    """Sends requests and measures the responses. `cpu_clock_ns` returns the CPU time of this process."""

    clock_ns: Callable[[], int] = time.perf_counter_ns
    cpu_clock_ns: Callable[[], int] = time.process_time_ns

    async def throughput(
        self, address: Address, requests: Iterator[bytes], check: Check, *, clients: int = CLIENTS, seconds: float = 0.0
    ) -> Measurement:
        """Send requests in a closed loop over new connections, for `seconds`. If `seconds` is 0, send all requests."""
        measured = Measurement()
        loop = Connections(address, count=clients, timeouts=TIMEOUTS, clock_ns=self.clock_ns)
        with self._timing(loop, measured):
            end_ns = self.clock_ns() + int(seconds * 1e9)
            in_time = takewhile(lambda _: self.clock_ns() < end_ns, requests) if seconds else requests
            jobs = ((0, request) for request in in_time)
            await loop.work(jobs, answered=measured.counter(check), unanswered=measured.note_unanswered)
        return measured

    async def latency(
        self,
        address: Address,
        requests: Iterator[bytes],
        check: Check,
        *,
        clients: int = CLIENTS,
        per_second: int,
        seconds: float,
        warm_up_s: float = 0.0,
    ) -> Measurement:
        """Send requests in an open loop for `seconds`, at a fixed rate, over up to `clients` new connections.

        If all connections are busy, a due request waits, and its latency includes the wait. Before the measurement, a
        warm-up of `warm_up_s` opens the connections by sending requests at this rate. In the warm-up, only wrong
        responses are counted.
        """
        measured = Measurement()
        warm_up, counted = int(warm_up_s * per_second), int(seconds * per_second)
        loop = Connections(address, count=clients, timeouts=TIMEOUTS, clock_ns=self.clock_ns)
        warm_up_ns = warm_up * 1_000_000_000 // per_second
        with self._timing(loop, measured, warm_up_ns=warm_up_ns):
            first_ns = loop.delays.counted_from_ns = self.clock_ns() + warm_up_ns
            dues_ns = (first_ns + number * 1_000_000_000 // per_second for number in range(-warm_up, counted))
            jobs = ((due_ns, due_ns, request) for due_ns, request in zip(dues_ns, requests, strict=False))
            answered = measured.counter(check, from_ns=first_ns)
            await loop.work_when_due(jobs, answered=answered, unanswered=measured.note_unanswered)
        measured.late_ns = loop.delays.late_ns.tolist()
        return measured

    async def polling(
        self, address: Address, request: bytes, check: Check, *, interval_s: float, until: Coroutine[Any, Any, None]
    ) -> Measurement:
        """Repeat a request on one connection, with pauses of `interval_s`, until the coroutine `until` has ended."""
        measured = Measurement()
        loop = Connections(address, count=1, timeouts=TIMEOUTS, clock_ns=self.clock_ns)
        answered = measured.counter(check)
        # Connect before `until` begins, so that this time is not measured.
        await loop.work(iter([(0, request)]), answered=lambda *_: None, unanswered=measured.note_unanswered)
        with self._timing(loop, measured):
            ending = asyncio.create_task(until)
            while not ending.done():
                await loop.work(iter([(0, request)]), answered=answered, unanswered=measured.note_unanswered)
                await asyncio.sleep(interval_s)
            await ending
        return measured

    @contextmanager
    def _timing(self, loop: Connections, measured: Measurement, *, warm_up_ns: int = 0) -> Iterator[None]:
        begun_ns, cpu_begun_ns = self.clock_ns(), self.cpu_clock_ns()
        with closing(loop):
            yield
            elapsed_ns = self.clock_ns() - begun_ns
            measured.elapsed_s = (elapsed_ns - warm_up_ns) / 1e9
            measured.cpu_share = (self.cpu_clock_ns() - cpu_begun_ns) / elapsed_ns


def percentile_ms(times_ns: list[int], percentile: float) -> float:
    """Return a percentile in milliseconds; infinite if there are no times."""
    return percentile_of(sorted(times_ns), percentile) / 1e6 if times_ns else float("inf")


def cpu_and_errors(*measured: Measurement) -> str:
    """Return a text with the client's share of a core in each measurement, and with all errors."""
    shares = " and ".join(f"{each.cpu_share:.0%}" for each in measured)
    faults = "".join(f", {reason}: {times}" for each in measured for reason, times in each.wrong.items())
    return f"(client's CPU {shares}){faults}"
