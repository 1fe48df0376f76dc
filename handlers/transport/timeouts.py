"""Time-outs for clients, checked at intervals without a timer per request. Runs on the event loop."""

from typing import NamedTuple, Protocol

BODY_STEP_BYTES = 64 * 1024
RESPONSE_STEP_BYTES = 16 * 1024


class Timeouts(NamedTuple):
    """The time-outs for clients, in seconds."""

    handshake_s: float = 20.0
    """How long the TLS handshake may take."""
    idle_s: float = 75.0
    """How long a client may wait before it sends the first byte of the next request (keep-alive)."""
    head_s: float = 20.0
    """How long the head of a request may take, from its first to its last byte."""
    body_s: float = 30.0
    """How long a body may take to arrive. For a long body, this is the time for each `BODY_STEP_BYTES`."""
    response_s: float = 30.0
    """How long a client may take to read a response. For a long response, this is the time for each
    `RESPONSE_STEP_BYTES`."""


class Wait(NamedTuple):
    """What a connection is waiting for. If two consecutive values are equal, the client made no progress.

    `request` is the number of the request on the connection. `progress` changes with each step of a long body or
    response.
    """

    timeout_s: float
    phase: str
    request: int = 0
    progress: int = 0


class TimedConnection(Protocol):
    """A connection whose time-outs are checked at intervals, because a timer per request would cost too much."""

    def check_timeouts(self, now_s: float) -> None:
        """Closes the connection if a time-out has expired. If a request is incomplete, first sends a 408.

        Must be called several times within the shortest time-out, because each time-out starts at a call of this
        method. `now_s` is monotonic, in seconds. Does nothing if the connection is closed.
        """


class WaitClock:
    """Measures how long the `Wait` of a connection has not changed."""

    __slots__ = ("_began_s", "_wait")

    def __init__(self) -> None:
        self._wait: Wait | None = None
        self._began_s = 0.0

    def has_expired(self, wait: Wait, now_s: float) -> bool:
        """Whether `wait` was the same in all calls of the last `wait.timeout_s` seconds. `now_s` is monotonic."""
        if wait != self._wait:
            self._wait = wait
            self._began_s = now_s
            return False
        return now_s - self._began_s >= wait.timeout_s
