"""The plain lane: what its connections share, and what they need of others. Runs on the event loop.

Of the time that Tornado takes for a small request, four fifths are spent on its connection, stream and header objects.
The lane has none of them, and reads only what `plain_head` accepts. At the first request that is anything else, the
connection is handed over to Tornado for good. `python -m load.bench` measures the difference.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from handlers.problems.problem import OVERLOADED, RETRY_AFTER_S, Problem
from handlers.transport.in_flight import InFlightRequests
from handlers.transport.plain_head import PlainHead
from handlers.transport.plain_request import PlainRequest
from handlers.transport.timeouts import TimedConnection

MAX_BODY_BYTES = 64 * 1024
"""The longest body of a single order."""
MAX_ITERATION_S = 0.005
NO_ROOM = Problem(OVERLOADED, "All connections are in use; try again.", headers={"Retry-After": str(RETRY_AFTER_S)})


class PlainHandler(Protocol):
    """Serves plain requests."""

    def takes(self, head: PlainHead, /) -> bool:
        """Whether it serves such requests. If not, Tornado does."""

    def admit(self, request: PlainRequest, /) -> None:
        """Returns if the request is to be served. An exception becomes the response. The body is not known yet."""

    def serve(self, request: PlainRequest, /) -> None:
        """Ensures that `respond` or `fail` is called once, now or later. An exception becomes the response."""


class RequestRecorder(Protocol):
    """Records requests."""

    def now_ns(self) -> int:
        """The time, for `PlainRequest.started_ns`."""

    def record(self, request: PlainRequest, /) -> None:
        """Called once for each request, when its response is sent or the client has left."""


class IterationBudget:
    """Limits how long the connections of the lane may keep the event loop in one iteration.

    One request is short, but many clients may send expensive ones at once. `clock` returns seconds.
    """

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._end_s: float | None = None

    def is_spent(self) -> bool:
        """Whether the next request must wait for the next iteration."""
        now_s = self._clock()
        if self._end_s is None:
            self._end_s = now_s + MAX_ITERATION_S
            asyncio.get_running_loop().call_soon(self._reset)
        return now_s > self._end_s

    def _reset(self) -> None:
        self._end_s = None


@dataclass(frozen=True, slots=True)
class Lane:
    """What all connections of the lane share."""

    handler: PlainHandler
    in_flight: InFlightRequests
    budget: IterationBudget
    recorder: RequestRecorder | None = None


class LaneServer(Protocol):
    """The server that the lane's connections belong to."""

    def connection_opened(self, connection: TimedConnection, /) -> Problem | None:
        """Counts the connection. A problem means that it is to be rejected; then it is not counted."""

    def connection_lost(self, connection: TimedConnection, /) -> None:
        """Stops counting the connection. Nothing happens if it has not been counted."""

    def linger(self, file: int, /) -> None:
        """Keeps the connection open after this file is closed, until the client has read its responses."""

    def begin_hand_over(self, hand_over: Callable[[], None], /) -> None:
        """Calls `hand_over` now, or later if too many connections are being handed over. See `HandOvers`."""

    def take_over(self, client: socket.socket, address: tuple[Any, ...], received: bytes, /) -> None:
        """Serves a client through Tornado. `received` is the bytes of its requests that have not been served."""


class HandOvers:
    """Limits how many connections are handed over at once.

    Each has two open files until its transport closes one, in the next iteration of the event loop. If all connections
    did this in the same iteration, the process would run out of files.
    """

    def __init__(self, spare_files: Callable[[], int]) -> None:
        """`spare_files` returns how many files hand-overs may open now. One hand-over may always run."""
        self._spare_files = spare_files
        self._running = 0
        self._waiting: deque[Callable[[], None]] = deque()

    def begin(self, hand_over: Callable[[], None]) -> None:
        """Calls `hand_over` now or in a later iteration, in the order of the calls."""
        self._waiting.append(hand_over)
        self._run_waiting()

    def _run_waiting(self) -> None:
        while self._waiting and (not self._running or self._running < self._spare_files()):
            self._running += 1
            # Called after the callback in which the transport closes its file, because that is scheduled first.
            try:
                self._waiting.popleft()()
            finally:
                asyncio.get_running_loop().call_soon(self._end)

    def _end(self) -> None:
        self._running -= 1
        self._run_waiting()
