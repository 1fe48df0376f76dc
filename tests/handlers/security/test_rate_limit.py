"""The token bucket: allowed requests, decisions, and the number of buckets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.security.rate_limit import MAX_COUNT, RateLimit, RateLimitDecision, RateLimiter, parse_rate_limit
from tests.cases import cases

SECOND_NS = 1_000_000_000
LIMITS = st.builds(RateLimit, st.integers(1, MAX_COUNT), st.sampled_from([1, 60, 3_600]))


class Clock:
    """Monotonic nanoseconds, which the test sets."""

    def __init__(self) -> None:
        self.now_ns = 5 * SECOND_NS

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@cases(
    ("text", "limit"),
    [("1/s", (1, 1)), ("100/s", (100, 1)), ("90/m", (90, 60)), ("7/h", (7, 3_600)), ("1000000/s", (1_000_000, 1))],
)
def test_a_limit_is_a_number_and_a_period(text: str, limit: tuple[int, int]) -> None:
    assert parse_rate_limit(text) == limit


@cases(
    "text",
    ["", "100", "/s", "0/s", "-1/s", "1.5/s", "01/s", "1000001/s", "1/d", "1/S", "1 /s", "1/s\n", "\u0661/s", "1e3/s"],
)
def test_any_other_text_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="must be a whole number from 1 to 1000000 and a period"):
        parse_rate_limit(text)


def test_a_burst_may_be_as_large_as_the_limit(clock: Clock) -> None:
    limiter = RateLimiter(RateLimit(3, 60), clock_ns=clock)
    assert [limiter.acquire("a") for _ in range(4)] == [
        RateLimitDecision(True, 2, 20),
        RateLimitDecision(True, 1, 20),
        RateLimitDecision(True, 0, 20),
        RateLimitDecision(False, 0, 20),
    ]


def test_a_bucket_fills_evenly_and_rejected_requests_take_no_token(clock: Clock) -> None:
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


def test_each_client_has_its_own_bucket(clock: Clock) -> None:
    limiter = RateLimiter(RateLimit(1, 1), clock_ns=clock)
    assert [limiter.acquire(client).is_allowed for client in "abab"] == [True, True, False, False]


@given(limit=LIMITS, pauses_ns=st.lists(st.integers(0, 3_600 * SECOND_NS // 4), max_size=30))
def test_a_request_is_allowed_after_the_announced_wait(limit: RateLimit, pauses_ns: list[int]) -> None:
    clock = Clock()
    limiter = RateLimiter(limit, clock_ns=clock)
    for pause_ns in pauses_ns:
        clock.now_ns += pause_ns
        decision = limiter.acquire("a")
        assert 0 <= decision.remaining < limit.requests
        assert decision.next_s >= 1
        if not decision.is_allowed:
            assert decision.remaining == 0
            clock.now_ns += decision.next_s * SECOND_NS
            assert limiter.acquire("a").is_allowed


@given(
    requests=st.integers(1, 9),
    pauses_ns=st.lists(st.integers(0, SECOND_NS // 3), min_size=1, max_size=60),
)
def test_no_interval_allows_more_than_a_burst_plus_the_rate(requests: int, pauses_ns: list[int]) -> None:
    clock = Clock()
    limiter = RateLimiter(RateLimit(requests, 1), clock_ns=clock)
    allowed_ns = []
    for pause_ns in pauses_ns:
        clock.now_ns += pause_ns
        if limiter.acquire("a").is_allowed:
            allowed_ns.append(clock.now_ns)
    interval_ns = SECOND_NS // requests
    for first, begin_ns in enumerate(allowed_ns):
        for last, end_ns in enumerate(allowed_ns[first:], first):
            assert last - first + 1 <= requests + (end_ns - begin_ns) // interval_ns


@cases(
    ("limit", "servers", "burst", "interval_s"),
    [
        (RateLimit(60, 60), 1, 60, 1),
        (RateLimit(60, 60), 2, 30, 2),
        (RateLimit(60, 60), 7, 8, 7),
        (RateLimit(1, 60), 1, 1, 60),
        (RateLimit(1, 60), 3, 1, 180),
        (RateLimit(2, 3_600), 2, 1, 3_600),
    ],
)
def test_servers_divide_a_limit(limit: RateLimit, servers: int, burst: int, interval_s: int) -> None:
    clock = Clock()
    limiter = RateLimiter(limit, clock_ns=clock)
    limiter.share_among(servers)
    *allowed, rejected = [limiter.acquire("a") for _ in range(burst + 1)]
    assert [each.remaining for each in allowed] == list(reversed(range(burst)))
    assert rejected == RateLimitDecision(False, 0, interval_s)
    clock.now_ns += interval_s * SECOND_NS
    assert [limiter.acquire("a").is_allowed for _ in range(2)] == [True, False]


@given(
    limit=LIMITS,
    steps=st.lists(st.tuples(st.integers(1, 20), st.integers(0, 3_600 * SECOND_NS // 4)), max_size=30),
)
def test_an_announced_wait_is_enough_when_the_number_of_servers_changes(
    limit: RateLimit, steps: list[tuple[int, int]]
) -> None:
    clock = Clock()
    limiter = RateLimiter(limit, clock_ns=clock)
    for servers, pause_ns in steps:
        limiter.share_among(servers)
        clock.now_ns += pause_ns
        decision = limiter.acquire("a")
        assert 0 <= decision.remaining < max(2, limit.requests / servers)
        if not decision.is_allowed:
            assert decision.remaining == 0
            clock.now_ns += decision.next_s * SECOND_NS
            assert limiter.acquire("a").is_allowed


def test_full_buckets_are_removed(clock: Clock) -> None:
    limiter = RateLimiter(RateLimit(10, 1), clock_ns=clock)
    for number in range(1_000):
        limiter.acquire(str(number))
    assert len(limiter) == 1_000
    clock.now_ns += SECOND_NS
    limiter.acquire("last")
    assert len(limiter) == 1


def test_the_number_of_buckets_is_limited(clock: Clock) -> None:
    limiter = RateLimiter(RateLimit(1, 3_600), clock_ns=clock)
    for number in range(25_000):
        limiter.acquire(str(number))
    assert len(limiter) == 10_000


def test_the_least_recently_used_bucket_is_removed_first(clock: Clock) -> None:
    limiter = RateLimiter(RateLimit(1, 3_600), clock_ns=clock, max_clients=2)
    for client in "abac":
        limiter.acquire(client)
    assert not limiter.acquire("a").is_allowed
    assert not limiter.acquire("c").is_allowed
    assert limiter.acquire("b").is_allowed
