"""How often each client may ask: a token bucket a client, kept as the one time at which it is full again (GCRA).

Pure, but for the clock that is handed in; lives on the event loop.
"""

import re
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

MAX_COUNT = 1_000_000
_NANOSECONDS = 1_000_000_000
_PERIODS_S = {"s": 1, "m": 60, "h": 3_600}
_NAMES = {1: "second", 60: "minute", 3_600: "hour"}
_TEXT = re.compile(r"([1-9][0-9]{0,6})/([smh])")


class RateLimit(NamedTuple):
    """So many requests in so many seconds."""

    requests: int
    period_s: int

    def __str__(self) -> str:
        return f"{self.requests} requests a {_NAMES[self.period_s]}"


def parse_rate_limit(text: str) -> RateLimit:
    """The limit that a text such as `100/s` says. Raises ValueError."""
    found = _TEXT.fullmatch(text)
    if not found or int(found[1]) > MAX_COUNT:
        raise ValueError(f"must be a whole number from 1 to {MAX_COUNT} and a period, /s, /m or /h: 100/s")
    return RateLimit(int(found[1]), _PERIODS_S[found[2]])


class RateLimitDecision(NamedTuple):
    """What became of one request: `left` more may come at once, and one more than that in `next_s` whole seconds."""

    is_allowed: bool
    left: int
    next_s: int


class RateLimiter:
    """A bucket for each client, which holds one period's worth of requests and fills evenly.

    A refused request takes nothing. `clock_ns` is monotonic, in nanoseconds. Buckets that are full again are forgotten;
    of more than `max_clients` others, those that were used longest ago.
    """

    def __init__(self, limit: RateLimit, *, clock_ns: Callable[[], int], max_clients: int = 10_000) -> None:
        self._interval_ns = limit.period_s * _NANOSECONDS // limit.requests
        self._capacity_ns = self._interval_ns * limit.requests
        self._clock_ns = clock_ns
        self._max_clients = max_clients
        self._full_at_ns: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        """How many clients are remembered."""
        return len(self._full_at_ns)

    def take(self, client: str) -> RateLimitDecision:
        """Counts a request of the client, unless that is one too many."""
        now_ns = self._clock_ns()
        used_ns = max(0, self._full_at_ns.get(client, now_ns) - now_ns)
        is_allowed = used_ns + self._interval_ns <= self._capacity_ns
        if is_allowed:
            used_ns += self._interval_ns
        self._full_at_ns[client] = now_ns + used_ns
        self._full_at_ns.move_to_end(client)
        self._forget(now_ns)
        left, begun_ns = divmod(self._capacity_ns - used_ns, self._interval_ns)
        return RateLimitDecision(is_allowed, left, -((begun_ns - self._interval_ns) // _NANOSECONDS))

    def _forget(self, now_ns: int) -> None:
        # Those used longest ago come first, and are the first to be full again, or nearly so.
        full_at_ns = self._full_at_ns
        while len(full_at_ns) > self._max_clients or full_at_ns[next(iter(full_at_ns))] <= now_ns:
            full_at_ns.popitem(last=False)
