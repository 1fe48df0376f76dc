"""When deliveries to a receiver are paused, and how they begin again. The clock belongs to the tests."""

import heapq
import logging
from collections.abc import Callable

import pytest

from workers.backoff import Backoff
from workers.processors.outcomes import NotSentError
from workers.processors.webhooks.delivery_gate import (
    LONG_PAUSE_S,
    MAX_UNREACHABLE,
    MIN_LOG_INTERVAL_S,
    MIN_PAUSE_S,
    Delivery,
    DeliveryGate,
)
from workers.processors.webhooks.delivery_result import DeliveryResult, Verdict

START_US = 1_740_830_400_000_000
MAX_OPEN = 64

ACCEPTED = DeliveryResult(Verdict.ACCEPTED)
FAILED = DeliveryResult(Verdict.FAILED, "the receiver answered 500")
REJECTED = DeliveryResult(Verdict.REJECTED, "the receiver answered 422")
UNREACHABLE = DeliveryResult(Verdict.UNREACHABLE, "no answer within 15 s")


def busy(retry_after_s: float | None = None) -> DeliveryResult:
    return DeliveryResult(Verdict.BUSY, "the receiver answered 429", retry_after_s)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def new_gate(clock: Clock, *, max_open: int = MAX_OPEN, queue: int = 0) -> DeliveryGate:
    return DeliveryGate(
        max_open=max_open,
        queue=queue,
        backoff=Backoff(first_s=1.0, max_s=60.0, jitter=lambda: 0.5),
        clock=clock,
        clock_us=lambda: START_US + round((clock() - 1_000.0) * 1_000_000),
    )


@pytest.fixture
def gate(clock: Clock) -> DeliveryGate:
    return new_gate(clock)


def deliver(gate: DeliveryGate, result: DeliveryResult, order_id: int = 1) -> float:
    return gate.end(gate.begin(order_id), result)


def assert_closed_for(gate: DeliveryGate, seconds: float) -> None:
    assert gate.max_open() == 0
    assert gate.opens_in_s() == pytest.approx(seconds)
    with pytest.raises(NotSentError):
        gate.begin(1)


# Pauses


def test_a_new_gate_is_fully_open(gate: DeliveryGate) -> None:
    assert (gate.max_open(), gate.opens_in_s()) == (MAX_OPEN, 0.0)
    for order_id in range(MAX_OPEN):
        gate.begin(order_id)
    with pytest.raises(NotSentError):
        gate.begin(MAX_OPEN)


def test_a_busy_receiver_pauses_deliveries_for_the_time_it_requests(gate: DeliveryGate, clock: Clock) -> None:
    assert deliver(gate, busy(20.0)) == 20.0
    assert_closed_for(gate, 20.0)
    clock.now_s += 19.9
    assert_closed_for(gate, 0.1)
    clock.now_s += 0.2
    assert (gate.max_open(), gate.opens_in_s()) == (1, 0.0)


def test_without_retry_after_the_pauses_double(gate: DeliveryGate, clock: Clock) -> None:
    pauses_s = []
    for _ in range(8):
        pauses_s.append(deliver(gate, busy()))
        clock.now_s += pauses_s[-1]
    assert pauses_s == [1, 2, 4, 8, 16, 32, 60, 60]
    deliver(gate, ACCEPTED)
    assert deliver(gate, busy()) == 1


def test_a_pause_is_never_shorter_than_the_minimum(gate: DeliveryGate) -> None:
    assert deliver(gate, busy(0.0)) == pytest.approx(MIN_PAUSE_S)


def test_refusals_of_deliveries_that_began_before_the_pause_only_extend_it(gate: DeliveryGate, clock: Clock) -> None:
    begun = [gate.begin(order_id) for order_id in range(4)]
    assert gate.end(begun[0], busy(5.0)) == 5.0
    clock.now_s += 1.0
    assert gate.end(begun[1], busy(9.0)) == 9.0
    assert gate.end(begun[2], busy()) == 9.0
    assert gate.end(begun[3], ACCEPTED) == 9.0
    assert gate.state().pauses == {"busy": 1, "unreachable": 0}
    assert gate.state().is_paused


@pytest.mark.parametrize("other", [ACCEPTED, FAILED, REJECTED])
def test_five_orders_without_a_response_in_a_row_pause_deliveries(
    gate: DeliveryGate, clock: Clock, other: DeliveryResult
) -> None:
    for order_id in range(MAX_UNREACHABLE - 1):
        assert deliver(gate, UNREACHABLE, order_id) == 0.0
    deliver(gate, other)
    for order_id in range(MAX_UNREACHABLE - 1):
        assert deliver(gate, UNREACHABLE, order_id) == 0.0
    assert deliver(gate, UNREACHABLE, 99) == 1.0
    assert_closed_for(gate, 1.0)
    clock.now_s += 1.0
    # From then on, each probe without a response begins a longer pause.
    assert deliver(gate, UNREACHABLE, 100) == 2.0
    assert gate.state().pauses == {"busy": 0, "unreachable": 2}


def test_one_order_that_always_fails_does_not_pause_deliveries(gate: DeliveryGate) -> None:
    for _ in range(3 * MAX_UNREACHABLE):
        assert deliver(gate, UNREACHABLE, 7) == 0.0
    assert gate.max_open() == MAX_OPEN


def test_time_outs_of_deliveries_that_began_before_the_pause_do_not_extend_it(gate: DeliveryGate) -> None:
    begun = [gate.begin(order_id) for order_id in range(3 * MAX_UNREACHABLE)]
    pauses_s = [gate.end(delivery, UNREACHABLE) for delivery in begun]
    assert pauses_s == [0.0] * (MAX_UNREACHABLE - 1) + [1.0] * (2 * MAX_UNREACHABLE + 1)


# After a pause


def test_single_deliveries_probe_until_one_is_accepted(gate: DeliveryGate, clock: Clock) -> None:
    deliver(gate, busy(5.0))
    clock.now_s += 5.0
    for result in (FAILED, REJECTED, FAILED):
        delivery = gate.begin(1)
        with pytest.raises(NotSentError):
            gate.begin(2)
        gate.end(delivery, result)
        assert (gate.max_open(), gate.state().is_paused) == (1, True)
    deliver(gate, ACCEPTED)
    assert (gate.max_open(), gate.state().is_paused) == (2, False)


def test_a_delivery_from_before_the_pause_does_not_end_the_probes(gate: DeliveryGate, clock: Clock) -> None:
    slow = gate.begin(1)
    deliver(gate, busy(5.0), 2)
    clock.now_s += 5.0
    gate.end(slow, ACCEPTED)
    assert (gate.max_open(), gate.state().is_paused) == (1, True)


def test_the_limit_grows_fast_up_to_half_and_then_slowly(gate: DeliveryGate, clock: Clock) -> None:
    deliver(gate, busy(1.0))
    clock.now_s += 1.0
    limits = []
    while gate.max_open() < MAX_OPEN:
        deliver(gate, ACCEPTED)
        limits.append(gate.max_open())
        assert len(limits) < 4 * MAX_OPEN**2
    assert limits[:31] == list(range(2, 33))
    assert len(limits) > 1_000
    deliver(gate, ACCEPTED)
    assert gate.max_open() == MAX_OPEN


def test_more_orders_can_be_claimed_than_sent_while_the_limit_is_not_reduced(clock: Clock) -> None:
    gate = new_gate(clock, max_open=2, queue=100)
    assert gate.max_open() == 102
    first, _ = gate.begin(1), gate.begin(2)
    with pytest.raises(NotSentError):
        gate.begin(3)
    gate.end(first, busy(1.0))
    assert gate.max_open() == 0
    clock.now_s += 1.0
    assert gate.max_open() == 1


def test_failed_probes_do_not_lower_the_limit_up_to_which_the_growth_is_fast(gate: DeliveryGate, clock: Clock) -> None:
    for _ in range(9):
        clock.now_s += deliver(gate, busy(1.0))
    for _ in range(31):
        deliver(gate, ACCEPTED)
    assert gate.max_open() == MAX_OPEN // 2


def test_a_pause_can_be_ended_and_the_next_one_is_short_again(gate: DeliveryGate, clock: Clock) -> None:
    assert not gate.end_pause()
    for _ in range(3):
        clock.now_s += deliver(gate, busy())
    assert not gate.end_pause()
    deliver(gate, busy(86_400.0))
    assert gate.end_pause()
    assert not gate.end_pause()
    assert (gate.max_open(), gate.opens_in_s(), gate.state().is_paused) == (1, 0.0, True)
    assert deliver(gate, busy()) == 1.0
    assert gate.end_pause()
    deliver(gate, ACCEPTED)
    assert (gate.max_open(), gate.state().is_paused) == (2, False)


# Receivers, simulated


class Simulation:
    """Sends `orders` through a gate to a receiver that answers after `LATENCY_S`. Refused orders are sent again."""

    LATENCY_S = 0.05

    def __init__(self, gate: DeliveryGate, clock: Clock, answer: Callable[[], DeliveryResult]) -> None:
        self.refused = 0
        self.accepted = 0
        self.not_sent = 0
        self._gate = gate
        self._clock = clock
        self._answer = answer
        self._open: list[tuple[float, int, Delivery, DeliveryResult]] = []

    def run(self, orders: int) -> None:
        begun = 0
        while self.accepted < orders:
            while len(self._open) < min(self._gate.max_open(), orders - self.accepted):
                begun += 1
                end_s = self._clock() + self.LATENCY_S
                heapq.heappush(self._open, (end_s, begun, self._gate.begin(begun), self._answer()))
            if self._open:
                self._clock.now_s, _, delivery, result = heapq.heappop(self._open)
                self._gate.end(delivery, result)
                self.accepted += result is ACCEPTED
                self.refused += result is not ACCEPTED
            else:
                self._clock.now_s += self._gate.opens_in_s()


@pytest.mark.parametrize("retry_after_s", [0.0, 1.0, None])
def test_a_receiver_that_refuses_nine_of_ten_gets_all_orders(
    gate: DeliveryGate, clock: Clock, retry_after_s: float | None
) -> None:
    count = 0

    def answer() -> DeliveryResult:
        nonlocal count
        count += 1
        return busy(retry_after_s) if count % 10 else ACCEPTED

    simulation = Simulation(gate, clock, answer)
    simulation.run(1_000)
    assert (simulation.accepted, simulation.refused) == (1_000, 9_000)


@pytest.mark.parametrize(
    ("per_second", "retry_after_s", "most"), [(5, 2.0, 600), (5, None, 600), (100, 1.0, 300), (100, 0.0, 300)]
)
def test_a_receiver_with_a_rate_limit_refuses_few_deliveries(
    gate: DeliveryGate, clock: Clock, per_second: int, retry_after_s: float | None, most: int
) -> None:
    second, left = 0, 0

    def answer() -> DeliveryResult:
        nonlocal second, left
        if int(clock()) > second:
            second, left = int(clock()), per_second
        left -= 1
        return ACCEPTED if left >= 0 else busy(retry_after_s)

    begin_s = clock()
    simulation = Simulation(gate, clock, answer)
    simulation.run(2_000)
    print(f"{simulation.refused} refused, {gate.state().pauses['busy']} pauses, {clock() - begin_s:.0f} s")
    assert simulation.accepted == 2_000
    assert simulation.refused <= most


# The log


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [f"{record.levelname} {record.getMessage()}" for record in caplog.records]


def test_the_beginning_and_the_end_of_a_pause_are_logged_once(
    gate: DeliveryGate, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    begun = [gate.begin(order_id) for order_id in range(3)]
    for delivery in begun:
        gate.end(delivery, busy(2.0))
    clock.now_s += 2.0
    deliver(gate, busy(3.5))
    clock.now_s += 3.5
    deliver(gate, FAILED)
    for _ in range(3):
        deliver(gate, ACCEPTED)
    assert messages(caplog) == [
        "WARNING deliveries are paused until 2025-03-01 12:00:02 UTC: the receiver answered 429",
        "INFO deliveries resumed after 5.5 s",
    ]
    caplog.clear()


def test_many_pauses_are_logged_at_a_limited_rate(
    gate: DeliveryGate, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(1_100):
        deliver(gate, busy(0.0))
        clock.now_s += MIN_LOG_INTERVAL_S / 512
        deliver(gate, ACCEPTED)
    assert [text.partition("UTC: ")[2] for text in messages(caplog) if "paused" in text] == [
        "the receiver answered 429",
        "the receiver answered 429 (511 earlier pauses were not logged)",
        "the receiver answered 429 (511 earlier pauses were not logged)",
    ]
    assert len([text for text in messages(caplog) if "resumed" in text]) == 3
    caplog.clear()


def test_a_long_pause_is_always_logged(gate: DeliveryGate, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    deliver(gate, busy(1.0))
    clock.now_s += 1.0
    deliver(gate, ACCEPTED)
    begun = [gate.begin(order_id) for order_id in range(2)]
    gate.end(begun[0], busy(1.0))
    gate.end(begun[1], busy(3_600.0))
    clock.now_s += 3_600.0
    for _ in range(3):
        deliver(gate, busy(LONG_PAUSE_S))
        clock.now_s += LONG_PAUSE_S
    deliver(gate, busy(7_200.0))
    clock.now_s += 7_200.0
    deliver(gate, ACCEPTED)
    assert messages(caplog) == [
        "WARNING deliveries are paused until 2025-03-01 12:00:01 UTC: the receiver answered 429",
        "INFO deliveries resumed after 1.0 s",
        "WARNING deliveries are paused until 2025-03-01 13:00:01 UTC: the receiver answered 429"
        " (1 earlier pauses were not logged)",
        "WARNING deliveries are paused until 2025-03-01 15:03:01 UTC: the receiver answered 429",
        "INFO deliveries resumed after 10980.0 s",
    ]
    caplog.clear()


def test_a_pause_for_another_reason_is_logged_at_once(
    gate: DeliveryGate, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    deliver(gate, busy(1.0))
    clock.now_s += 1.0
    deliver(gate, ACCEPTED)
    for order_id in range(MAX_UNREACHABLE):
        deliver(gate, UNREACHABLE, order_id)
    assert [text.partition("UTC: ")[2] for text in messages(caplog)] == [
        "the receiver answered 429",
        "no answer within 15 s",
    ]
    caplog.clear()
