"""Owns the measuring of how fast one server answers, on the event loop's thread."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile

from load.http.address import Address
from load.http.closed_loop import ClosedLoop
from load.http.connections import RequestTiming, Timeouts
from load.http.response import Response
from load.system.machine import BUSY_SHARE

TIMEOUTS = Timeouts(answer_s=30.0, connection_s=2.0, processing_s=30.0, poll_s=0.002)

Fault = Callable[[Response], str]
"""Says what is wrong with an answer that has the right status; an empty text when nothing is."""


def no_fault(answer: Response) -> str:
    """Take every answer for right."""
    return ""


def fault_of(answer: Response, *, status: int, fault: Fault) -> str:
    """Say what is wrong with an answer, its status first."""
    return fault(answer) if answer.status == status else f"status {answer.status}"


@dataclass
class Pace:
    """`right` answers in `elapsed_s`, what else came by reason, and how much of a core the clients used."""

    right: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    elapsed_s: float = 0.0
    cpu_share: float = 0.0

    @property
    def per_second(self) -> float:
        return self.right / self.elapsed_s

    def add(self, other: "Pace") -> None:
        """Take another turn of the same in, as if it had followed at once."""
        elapsed_s = self.elapsed_s + other.elapsed_s
        self.cpu_share = (self.cpu_share * self.elapsed_s + other.cpu_share * other.elapsed_s) / elapsed_s
        self.right += other.right
        self.wrong += other.wrong
        self.elapsed_s = elapsed_s

    @property
    def client_was_the_limit(self) -> bool:
        """Whether the clients had next to no time left, so that the server may be faster than this."""
        return self.cpu_share > BUSY_SHARE


async def measure_pace(
    address: Address,
    requests: Iterator[bytes],
    *,
    clients: int,
    status: int,
    clock_ns: Callable[[], int],
    cpu_clock_ns: Callable[[], int],
    seconds: float = 0.0,
    fault: Fault = no_fault,
) -> Pace:
    """Send requests from `clients` new connections until they run out, or for some seconds where that is not 0.

    Answers with another status than `status`, or with a fault, are wrong. The time runs from the first connect to
    the last answer.
    """
    pace = Pace()

    def judge(key: None, answer: Response, timing: RequestTiming) -> None:
        reason = fault_of(answer, status=status, fault=fault)
        if reason:
            pace.wrong[reason] += 1
        else:
            pace.right += 1

    def count_error(key: None, reason: str) -> None:
        pace.wrong[reason] += 1

    crowd = ClosedLoop(address, count=clients, timeouts=TIMEOUTS, clock_ns=clock_ns)
    begun_ns, cpu_begun_ns = clock_ns(), cpu_clock_ns()
    end_ns = begun_ns + int(seconds * 1e9)
    in_time = takewhile(lambda _: clock_ns() < end_ns, requests) if seconds else requests
    try:
        await crowd.work(((None, request) for request in in_time), answered=judge, unanswered=count_error)
        elapsed_ns = clock_ns() - begun_ns
        pace.elapsed_s = elapsed_ns / 1e9
        pace.cpu_share = (cpu_clock_ns() - cpu_begun_ns) / elapsed_ns
    finally:
        crowd.close()
    return pace
