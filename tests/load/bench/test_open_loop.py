"""How the time of an answer is taken at a steady rate."""

import time
from itertools import count

import pytest

from load.bench.open_loop import Latency, measure_latency
from load.bench.pace import no_fault
from load.bench.requests import posts
from load.http.address import Address, ServerUrl, reach
from load.http.response import Response
from load.results.recording import percentile_of
from tests.load.shop import Fault, Shop


class StandingClock:
    """A clock that goes on only when an answer comes, by `steps_ns` one after another."""

    def __init__(self, *steps_ns: int) -> None:
        self._now_ns = 0
        self._steps_ns = list(steps_ns)

    def now_ns(self) -> int:
        return self._now_ns

    def answered(self, answer: Response) -> str:
        self._now_ns += self._steps_ns.pop(0) if self._steps_ns else 0
        return ""


async def _measure(
    shop: Shop, *, clients: int, seconds: float, clock: StandingClock | None = None, lead_in_s: float = 0.0
) -> Latency:
    address: Address = await reach(ServerUrl.parse(shop.url), timeout_s=5)
    return await measure_latency(
        address,
        posts(address, count(1)),
        clients=clients,
        per_second=1_000,
        seconds=seconds,
        status=202,
        clock_ns=clock.now_ns if clock else time.perf_counter_ns,
        cpu_clock_ns=clock.now_ns if clock else time.process_time_ns,
        fault=clock.answered if clock else no_fault,
        lead_in_s=lead_in_s,
    )


@pytest.mark.gen_test
async def test_as_many_requests_are_sent_as_the_rate_says(shop: Shop) -> None:
    latency = await _measure(shop, clients=4, seconds=0.02)
    assert (latency.right, len(latency.latencies_ns), latency.wrong) == (20, 20, {})
    assert sorted(shop.ids) == list(range(1, 21))
    assert shop.connections <= 4 + 1
    assert latency.elapsed_s >= 0.019
    assert 0 < latency.p99_ms() < float("inf")


@pytest.mark.gen_test
async def test_the_time_of_a_request_runs_from_when_it_was_due_while_the_connections_were_busy(shop: Shop) -> None:
    latency = await _measure(shop, clients=1, seconds=0.005, clock=StandingClock(1_000_000_000))
    # The clock goes on when the first answer has come, before its connection is free again.
    assert latency.latencies_ns == [0, *(1_000_000_000 - due_ms * 1_000_000 for due_ms in range(1, 5))]
    # The first alone had a free connection; that the others were late is not the client's doing.
    assert latency.late_ns == [0]


@pytest.mark.gen_test
async def test_the_lead_in_is_sent_at_the_same_rate_and_not_counted(shop: Shop) -> None:
    latency = await _measure(shop, clients=1, seconds=0.005, lead_in_s=0.003, clock=StandingClock(0, 4_000_000))
    assert sorted(shop.ids) == list(range(1, 1 + 3 + 5))
    # The second of the lead-in takes until a millisecond after the first that counts is due.
    assert latency.latencies_ns == [1_000_000, 0, 0, 0, 0]


@pytest.mark.gen_test
async def test_what_went_wrong_is_counted_and_has_no_time(shop: Shop) -> None:
    shop.refusals = {3: 503}
    shop.faults = {5: Fault.CUT}
    latency = await _measure(shop, clients=2, seconds=0.008)
    assert latency.wrong == {"status 503": 1, "connection closed in the middle of the answer": 1}
    assert latency.right == len(latency.latencies_ns) == 6


@pytest.mark.gen_test
async def test_without_an_answer_the_time_has_no_end(shop: Shop) -> None:
    shop.refusals = dict.fromkeys(range(1, 10), 503)
    latency = await _measure(shop, clients=1, seconds=0.001)
    assert latency.right == 0
    assert latency.p99_ms() == float("inf")


@pytest.mark.parametrize(("percentile", "value"), [(0, 1), (50, 50), (99, 99), (99.1, 100), (100, 100)])
def test_a_percentile_is_the_nearest_rank(percentile: float, value: int) -> None:
    assert percentile_of(range(1, 101), percentile) == value
