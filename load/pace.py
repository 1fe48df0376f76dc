"""Owns the measuring of how fast one server answers, on the event loop's thread."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile

from load.address import Address
from load.clients import Clients, Patience
from load.connection import Answer

PATIENCE = Patience(answer_s=30.0, connection_s=2.0, processing_s=30.0, poll_s=0.002)


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


async def measure_pace(
    address: Address,
    requests: Iterator[bytes],
    *,
    clients: int,
    status: int,
    clock_ns: Callable[[], int],
    cpu_clock_ns: Callable[[], int],
    seconds: float = 0.0,
) -> Pace:
    """Send requests from `clients` new connections until they run out, or for some seconds where that is not 0.

    Answers with another status than `status` are wrong. The time runs from the first connect to the last answer.
    """
    pace = Pace()

    def judge(key: None, answer: Answer, latency_ns: int) -> None:
        if answer.status == status:
            pace.right += 1
        else:
            pace.wrong[f"status {answer.status}"] += 1

    def count_error(key: None, reason: str) -> None:
        pace.wrong[reason] += 1

    crowd = Clients(address, count=clients, patience=PATIENCE, clock_ns=clock_ns)
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
