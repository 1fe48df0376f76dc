"""Orders per second, computed from totals at times that the tests choose."""

from handlers.metrics.rates import SHORTEST_SPAN_S, WINDOW_S, Rates
from models.order import Totals


def totals(*, pending: int = 0, completed: int = 0) -> Totals:
    return Totals(pending, 0, completed, 0, 0, 0, None)


class SteppedClock:
    """Monotonic seconds, which the test sets."""

    def __init__(self) -> None:
        self.now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


def test_without_a_sample_the_rates_are_0() -> None:
    assert Rates(clock=SteppedClock()).up_to(totals(pending=5)) == (0.0, 0.0)


def test_orders_before_the_first_sample_do_not_count() -> None:
    clock = SteppedClock()
    rates = Rates(clock=clock)
    rates.sample(totals(pending=1_000, completed=500))
    clock.now_s += 10
    assert rates.up_to(totals(pending=1_000, completed=500)) == (0.0, 0.0)


def test_rates_begin_with_the_first_sample() -> None:
    clock = SteppedClock()
    rates = Rates(clock=clock)
    rates.sample(totals())
    clock.now_s += 10
    assert rates.up_to(totals(pending=30, completed=20)) == (5.0, 2.0)


def test_a_span_under_a_second_counts_as_a_second() -> None:
    clock = SteppedClock()
    rates = Rates(clock=clock)
    rates.sample(totals())
    clock.now_s += SHORTEST_SPAN_S / 100
    assert rates.up_to(totals(completed=3)) == (3.0, 3.0)


def test_only_the_last_minute_counts() -> None:
    clock = SteppedClock()
    rates = Rates(clock=clock)
    for second in range(200):
        clock.now_s = float(second)
        # 100 orders a second in the first 100 seconds, then 1.
        count = 100 * second if second <= 100 else 10_000 + (second - 100)
        rates.sample(totals(completed=count))
    assert rates.up_to(totals(completed=10_099)) == (1.0, 1.0)


def test_a_sample_exactly_as_old_as_the_window_still_counts() -> None:
    clock = SteppedClock()
    rates = Rates(clock=clock)
    rates.sample(totals())
    clock.now_s += WINDOW_S
    rates.sample(totals(completed=600))
    assert rates.up_to(totals(completed=600)).completed == 10.0
    clock.now_s += 1
    rates.sample(totals(completed=600))
    assert rates.up_to(totals(completed=600)).completed == 0.0
