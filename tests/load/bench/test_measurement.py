"""Tests how throughput and latency are measured."""

from collections import Counter
from itertools import count, islice, repeat

import pytest

from load.bench.measurement import Check, Measurement, Meter, expect
from load.bench.workloads import posts
from load.http.address import ServerUrl, reach
from load.http.connection import Response
from tests.load.shop import Fault, Shop

METER = Meter()
accepted = expect(202)


class StandingClock:
    """A clock that only responses advance. The first response advances it by the first of `steps_ns`, and so on."""

    def __init__(self, *steps_ns: int) -> None:
        self._now_ns = 0
        self._steps_ns = list(steps_ns)

    def now_ns(self) -> int:
        return self._now_ns

    def answered(self, answer: Response) -> str:
        self._now_ns += self._steps_ns.pop(0) if self._steps_ns else 0
        return ""


async def _measure(
    shop: Shop, *, clients: int, seconds: float, clock: StandingClock | None = None, warm_up_s: float = 0.0
) -> Measurement:
    address = await reach(ServerUrl.parse(shop.url), timeout_s=5)
    meter = Meter(clock_ns=clock.now_ns, cpu_clock_ns=clock.now_ns) if clock else METER
    check: Check = expect(202, clock.answered) if clock else accepted
    return await meter.latency(
        address,
        posts(address, count(1)),
        check,
        clients=clients,
        per_second=1_000,
        seconds=seconds,
        warm_up_s=warm_up_s,
    )


@pytest.mark.gen_test
async def test_an_open_loop_sends_requests_at_the_rate(shop: Shop) -> None:
    latency = await _measure(shop, clients=4, seconds=0.02)
    assert (latency.right, len(latency.latencies_ns), latency.wrong) == (20, 20, {})
    assert sorted(shop.ids) == list(range(1, 21))
    assert shop.connections <= 4 + 1
    # The last request is due after 19 ms, and the clock starts before the first request is due.
    assert latency.elapsed_s >= 0.019
    assert 0 < latency.p99_ms < float("inf")


@pytest.mark.gen_test
async def test_latency_in_an_open_loop_counts_from_when_the_request_was_due(shop: Shop) -> None:
    latency = await _measure(shop, clients=1, seconds=0.005, clock=StandingClock(1_000_000_000))
    # The clock advances when the first answer arrives, before its connection is free again.
    assert latency.latencies_ns == [0, *(1_000_000_000 - due_ms * 1_000_000 for due_ms in range(1, 5))]
    # Only the first request had a free connection. The client did not cause the delay of the others.
    assert latency.late_ns == [0]


@pytest.mark.gen_test
async def test_the_warm_up_is_sent_at_the_same_rate_and_not_counted(shop: Shop) -> None:
    latency = await _measure(shop, clients=1, seconds=0.005, warm_up_s=0.003, clock=StandingClock(0, 4_000_000))
    assert sorted(shop.ids) == list(range(1, 1 + 3 + 5))
    # The second request of the warm-up ends a millisecond after the first counted request is due.
    assert latency.latencies_ns == [1_000_000, 0, 0, 0, 0]


@pytest.mark.gen_test
async def test_wrong_answers_are_counted_and_have_no_latency(shop: Shop) -> None:
    shop.refusals = {3: 503}
    shop.faults = {5: Fault.CUT}
    latency = await _measure(shop, clients=2, seconds=0.008)
    assert latency.wrong == {"status 503": 1, "connection closed in the middle of the answer": 1}
    assert latency.right == len(latency.latencies_ns) == 6


@pytest.mark.gen_test
async def test_without_a_right_answer_the_latency_is_infinite(shop: Shop) -> None:
    shop.refusals = dict.fromkeys(range(1, 10), 503)
    latency = await _measure(shop, clients=1, seconds=0.001)
    assert latency.right == 0
    assert latency.p99_ms == float("inf")


@pytest.mark.gen_test
async def test_a_closed_loop_counts_right_and_wrong_answers(shop: Shop) -> None:
    shop.refusals = {3: 503}
    address = await reach(ServerUrl.parse(shop.url), timeout_s=5)
    measured = await METER.throughput(address, islice(posts(address, count(1)), 20), accepted, clients=4)
    assert (measured.right, len(measured.latencies_ns), measured.wrong) == (19, 19, {"status 503": 1})


@pytest.mark.gen_test
async def test_a_closed_loop_may_end_by_time(shop: Shop) -> None:
    address = await reach(ServerUrl.parse(shop.url), timeout_s=5)
    clock = StandingClock(*[40_000_000] * 5)
    meter = Meter(clock_ns=clock.now_ns, cpu_clock_ns=clock.now_ns)
    requests = repeat(address.get("/metrics"))
    measured = await meter.throughput(address, requests, expect(200, clock.answered), clients=2, seconds=0.1)
    # The answers arrive at 40, 80, 120 and 160 ms. After the third, no more requests are sent.
    assert (measured.right, measured.elapsed_s) == (4, 0.16)


def test_measurements_add_up() -> None:
    total = Measurement()
    wrong = Counter({"a": 1})
    total.add(Measurement(right=10, wrong=wrong, elapsed_s=1.0, cpu_share=0.5, latencies_ns=[3_000_000], late_ns=[1]))
    total.add(Measurement(right=30, wrong=wrong + wrong, elapsed_s=3.0, cpu_share=0.1, latencies_ns=[5_000_000]))
    assert (total.right, total.wrong, total.elapsed_s, total.rounds) == (40, {"a": 3}, 4.0, 2)
    assert total.cpu_share == pytest.approx(0.2)
    assert (total.per_second, total.p99_ms, total.late_ns) == (10.0, 5.0, [1])
