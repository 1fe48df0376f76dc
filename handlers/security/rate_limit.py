"""Rate limits: a token bucket per client, stored as the time at which the bucket is full again (GCRA).

Runs on the event loop.
"""

import re
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, Protocol

from msgspec import Struct

MAX_COUNT = 1_000_000
_NANOSECONDS = 1_000_000_000
_PERIODS_S = {"s": 1, "m": 60, "h": 3_600}
_NAMES = {1: "second", 60: "minute", 3_600: "hour"}
_TEXT = re.compile(r"([1-9][0-9]{0,6})/([smh])")


class RateLimit(NamedTuple):
    """The allowed number of requests in a period."""

    requests: int
    period_s: int

    def __str__(self) -> str:
        return f"{self.requests} requests a {_NAMES[self.period_s]}"


def parse_rate_limit(text: str) -> RateLimit:
    """Parses a text such as `100/s`. Raises ValueError if the text has another form."""
    found = _TEXT.fullmatch(text)
    if not found or int(found[1]) > MAX_COUNT:
        raise ValueError(f"must be a whole number from 1 to {MAX_COUNT} and a period, /s, /m or /h: 100/s")
    return RateLimit(int(found[1]), _PERIODS_S[found[2]])


class RateLimitDecision(Struct, frozen=True, gc=False):
    """The decision on one request. `remaining` further requests are allowed now, and another after `next_s` seconds."""

    is_allowed: bool
    remaining: int
    next_s: int


class ServerCount(Protocol):
    """How many servers share the limits. `models.store.Store` implements this Protocol."""

    @property
    def living_servers(self) -> int: ...


class OneServer:
    """The ServerCount for a server that does not share its limits."""

    living_servers = 1


ONE_SERVER = OneServer()


class RateLimiter:
    """A token bucket per client. A bucket holds the tokens of one period and is filled at a constant rate.

    A rejected request takes no token. `clock_ns` is monotonic, in nanoseconds. Full buckets are removed. If more than
    `max_clients` buckets remain, the least recently used buckets are also removed.
    """

    def __init__(self, limit: RateLimit, *, clock_ns: Callable[[], int], max_clients: int = 10_000) -> None:
        self._limit = limit
        self.share_among(1)
        self._clock_ns = clock_ns
        self._max_clients = max_clients
        self._full_at_ns: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        """The number of clients with a bucket."""
        return len(self._full_at_ns)

    def share_among(self, servers: int) -> None:
        """Divides the limit by this number of servers, from now on.

        If there are more servers than requests in a period, the period becomes longer, so that all servers together do
        not exceed the limit.
        """
        self._interval_ns = servers * self._limit.period_s * _NANOSECONDS // self._limit.requests
        self._capacity_ns = self._interval_ns * max(1, self._limit.requests // servers)

    def acquire(self, client: str) -> RateLimitDecision:
        """Takes a token for one request from the client's bucket, unless the bucket is empty."""
        now_ns = self._clock_ns()
        used_ns = self._full_at_ns.get(client, now_ns) - now_ns
        if used_ns < 0:
            used_ns = 0
        is_allowed = used_ns + self._interval_ns <= self._capacity_ns
        if is_allowed:
            used_ns += self._interval_ns
        full_at_ns = self._full_at_ns
        full_at_ns[client] = now_ns + used_ns
        full_at_ns.move_to_end(client)
        # The least recently used buckets come first. These buckets are also full again earlier than most other buckets.
        while len(full_at_ns) > self._max_clients or full_at_ns[next(iter(full_at_ns))] <= now_ns:
            full_at_ns.popitem(last=False)
        # `left_ns` can be negative, because more servers can reduce the capacity.
        left_ns = self._capacity_ns - used_ns
        remaining, partial_ns = divmod(left_ns, self._interval_ns) if left_ns > 0 else (0, left_ns)
        return RateLimitDecision(is_allowed, remaining, -((partial_ns - self._interval_ns) // _NANOSECONDS))
