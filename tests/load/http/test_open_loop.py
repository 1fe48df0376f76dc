"""Tests the open loop: which connections requests use, and when their latencies begin."""

from collections.abc import Iterator

import pytest

from load.http.address import Address, ServerUrl, reach
from load.http.connection import Response
from load.http.connections import Connections, RequestTiming
from tests.load.shop import Shop

MS = 1_000_000


class Stopwatch:
    """Provides a clock, and records `timings`. Each response advances the clock by the next of `answer_ms`."""

    def __init__(self, *answer_ms: int) -> None:
        self.timings: list[tuple[int, RequestTiming]] = []
        self._now_ns = 0
        self._answer_ns = [each * MS for each in answer_ms]

    def now_ns(self) -> int:
        return self._now_ns

    def answered(self, key: int, response: Response, timing: RequestTiming) -> None:
        self.timings.append((key, timing))
        self._now_ns += self._answer_ns.pop(0) if self._answer_ns else 0


def _fail(key: int, reason: str) -> None:
    raise AssertionError(f"request {key}: {reason}")


def _jobs(address: Address, *due_ms: int) -> Iterator[tuple[int, int, bytes]]:
    return ((each * MS, number, address.get("/metrics")) for number, each in enumerate(due_ms))


@pytest.mark.gen_test
async def test_a_connection_is_opened_only_when_none_is_free(shop: Shop) -> None:
    address = await reach(ServerUrl.parse(shop.url))
    loop = Connections(address, count=5)
    answered: list[int] = []
    for _ in range(3):
        await loop.work_when_due(_jobs(address, 0), answered=lambda key, *_: answered.append(key), unanswered=_fail)
    loop.close()
    assert answered == [0, 0, 0]
    # One connection to reach the shop, and one for all requests.
    assert shop.connections == 2


@pytest.mark.gen_test
async def test_latency_counts_from_when_a_request_was_due_and_from_when_it_was_sent(shop: Shop) -> None:
    address = await reach(ServerUrl.parse(shop.url))
    watch = Stopwatch(150)
    loop = Connections(address, count=1, clock_ns=watch.now_ns)
    await loop.work_when_due(_jobs(address, 0, 1, 2), answered=watch.answered, unanswered=_fail)
    loop.close()
    # The clock advances when the first answer arrives, before its connection is free again.
    assert watch.timings == [
        (0, RequestTiming(answered_ns=0, from_due_ns=0, from_sending_ns=0)),
        (1, RequestTiming(answered_ns=150 * MS, from_due_ns=149 * MS, from_sending_ns=0)),
        (2, RequestTiming(answered_ns=150 * MS, from_due_ns=148 * MS, from_sending_ns=0)),
    ]
    assert loop.delays.late_ns.tolist() == [0]
