"""The token bucket: how much it lets through, what it says of itself, and how much it remembers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.security.rate_limit import MAX_COUNT, RateLimit, RateLimitDecision, RateLimiter, parse_rate_limit

SECOND_NS = 1_000_000_000
LIMITS = st.builds(RateLimit, st.integers(1, MAX_COUNT), st.sampled_from([1, 60, 3_600]))


class Clock:
    """Monotonic nanoseconds; stands still until a test moves it."""

    def __init__(self) -> None:
        self.now_ns = 5 * SECOND_NS

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    ("text", "limit"),
    [("1/s", (1, 1)), ("100/s", (100, 1)), ("90/m", (90, 60)), ("7/h", (7, 3_600)), ("1000000/s", (1_000_000, 1))],
)
def test_a_limit_is_a_number_and_a_period(text: str, limit: tuple[int, int]) -> None:
    assert parse_rate_limit(text) == limit


@pytest.mark.parametrize(
    "text",
    ["", "100", "/s", "0/s", "-1/s", "1.5/s", "01/s", "1000001/s", "1/d", "1/S", "1 /s", "1/s\n", "\u0661/s", "1e3/s"],
)
def test_anything_else_is_no_limit(text: str) -> None:
    with pytest.raises(ValueError, match="must be a whole number from 1 to 1000000 and a period"):
        parse_rate_limit(text)


def test_one_periods_worth_may_come_at_once_and_no_more(clock: Clock) -> None:
    limiter = RateLimiter(RateLimit(3, 60), clock_ns=clock)
    assert [limiter.acquire("a") for _ in range(4)] == [
        RateLimitDecision(True, 2, 20),
        RateLimitDecision(True, 1, 20),
        RateLimitDecision(True, 0, 20),
        RateLimitDecision(False, 0, 20),
    ]


def test_it_fills_evenly_and_what_is_refused_takes_nothing(clock: Clock) -> None:
    limiter = RateLimiter(RateLimit(3, 60), clock_ns=clock)
    for _ in range(10):
        limiter.acquire("a")
    clock.now_ns += 20 * SECOND_NS - 1
    assert limiter.acquire("a") == RateLimitDecision(False, 0, 1)
    clock.now_ns += 1
    assert limiter.acquire("a") == RateLimitDecision(True, 0, 20)
    assert not limiter.acquire("a").is_allowed
    clock.now_ns += 1_000 * SECOND_NS
    assert limiter.acquire("a") == RateLimitDecision(True, 2, 20)


def test_each_client_has_a_bucket_of_its_own(clock: Clock) -> None:
    limiter = RateLimiter(RateLimit(1, 1), clock_ns=clock)
    assert [limiter.acquire(client).is_allowed for client in "abab"] == [True, True, False, False]


@given(limit=LIMITS, pauses_ns=st.lists(st.integers(0, 3_600 * SECOND_NS // 4), max_size=30))
def test_whoever_waits_as_long_as_it_says_is_let_in(limit: RateLimit, pauses_ns: list[int]) -> None:
    clock = Clock()
    limiter = RateLimiter(limit, clock_ns=clock)
    for pause_ns in pauses_ns:
        clock.now_ns += pause_ns
        taken = limiter.acquire("a")
        assert 0 <= taken.remaining < limit.requests
        assert taken.next_s >= 1
        if not taken.is_allowed:
            assert taken.remaining == 0
            clock.now_ns += taken.next_s * SECOND_NS
            assert limiter.acquire("a").is_allowed


@given(
    requests=st.integers(1, 9),
    pauses_ns=st.lists(st.integers(0, SECOND_NS // 3), min_size=1, max_size=60),
)
def test_in_any_time_no_more_get_through_than_a_burst_and_the_rate(requests: int, pauses_ns: list[int]) -> None:
    clock = Clock()
    limiter = RateLimiter(RateLimit(requests, 1), clock_ns=clock)
    let_in_ns = []
    for pause_ns in pauses_ns:
        clock.now_ns += pause_ns
        if limiter.acquire("a").is_allowed:
            let_in_ns.append(clock.now_ns)
    interval_ns = SECOND_NS // requests
    for first, begin_ns in enumerate(let_in_ns):
        for last, end_ns in enumerate(let_in_ns[first:], first):
            assert last - first + 1 <= requests + (end_ns - begin_ns) // interval_ns


def test_clients_whose_buckets_are_full_again_are_forgotten(clock: Clock) -> None:
    limiter = RateLimiter(RateLimit(10, 1), clock_ns=clock)
    for number in range(1_000):
        limiter.acquire(str(number))
    assert len(limiter) == 1_000
    clock.now_ns += SECOND_NS
    limiter.acquire("last")
    assert len(limiter) == 1


def test_however_many_clients_come_no_more_are_remembered_than_allowed(clock: Clock) -> None:
    limiter = RateLimiter(RateLimit(1, 3_600), clock_ns=clock)
    for number in range(25_000):
        limiter.acquire(str(number))
    assert len(limiter) == 10_000


def test_of_too_many_clients_the_one_that_came_last_longest_ago_is_forgotten(clock: Clock) -> None:
    limiter = RateLimiter(RateLimit(1, 3_600), clock_ns=clock, max_clients=2)
    for client in "abac":
        limiter.acquire(client)
    assert not limiter.acquire("a").is_allowed
    assert not limiter.acquire("c").is_allowed
    assert limiter.acquire("b").is_allowed
