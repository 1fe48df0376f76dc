"""How long a client may take, and a check of it that costs nothing per request. Runs on the event loop."""

from typing import NamedTuple, Protocol

BODY_STEP_BYTES = 64 * 1024
RESPONSE_STEP_BYTES = 16 * 1024


class Timeouts(NamedTuple):
    """How long a client may take, in seconds."""

    handshake_s: float = 20.0
    """For the TLS handshake, from the connection on."""
    idle_s: float = 75.0
    """Between two requests (keep-alive)."""
    head_s: float = 20.0
    """From the first byte of a request's head to its last."""
    body_s: float = 30.0
    """To send a body, or each further `BODY_STEP_BYTES` of a longer one."""
    response_s: float = 30.0
    """To read a response, or each further `RESPONSE_STEP_BYTES` of a longer one."""


class Wait(NamedTuple):
    """What the server is waiting for. If two consecutive values are equal, the client made no progress."""

    timeout_s: float
    phase: str
    request: int = 0
    progress: int = 0


class TimedConnection(Protocol):
    """A connection whose time-outs are checked at intervals, because a timer per request would cost too much."""

    def check_timeouts(self, now_s: float) -> None:
        """Closes the connection if a time-out has passed; sends 408 for an unfinished request.

        To be called several times within the shortest time-out: a time-out starts at the first call that observes the
        wait. Does nothing if the connection is closed.
        """


class WaitClock:
    """Since when a connection has been waiting for the same thing."""

    __slots__ = ("_began_s", "_wait")

    def __init__(self) -> None:
        self._wait: Wait | None = None
        self._began_s = 0.0

    def has_expired(self, wait: Wait, now_s: float) -> bool:
        """Whether `wait`, the current one, has been the same for its time-out."""
        if wait != self._wait:
            self._wait = wait
            self._began_s = now_s
            return False
        return now_s - self._began_s >= wait.timeout_s
