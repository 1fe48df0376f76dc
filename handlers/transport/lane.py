"""The plain lane, a fast path for simple requests: its interfaces and its shared state. Runs on the event loop.

Tornado spends four fifths of the time for a small request on its connection, stream and header objects. The lane does
not use these objects. The lane serves only plain requests: requests that `read_plain_head` and the PlainHandler accept.
When any other request arrives, the lane hands the connection over: Tornado gets the socket and the bytes that are not
served yet, and serves all further requests of this connection. `python -m load.bench` compares the speed of the server
with the speed of a bare Tornado handler.
"""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from handlers.problems.problem import OVERLOADED, RETRY_AFTER_S, Problem
from handlers.transport.in_flight import InFlightRequests
from handlers.transport.plain_head import PlainHead
from handlers.transport.plain_request import PlainRequest
from handlers.transport.timeouts import TimedConnection

MAX_BODY_BYTES = 64 * 1024
"""The maximum length of the body of a single order."""
MAX_ITERATION_S = 0.005
"""How long the lane may serve requests in one iteration of the event loop."""
NO_ROOM = Problem(OVERLOADED, "All connections are in use; try again.", headers={"Retry-After": str(RETRY_AFTER_S)})


class PlainHandler(Protocol):
    """Serves the requests of the lane."""

    def takes(self, head: PlainHead, /) -> bool:
        """Whether the lane serves the request with this head, instead of Tornado."""

    def admit(self, request: PlainRequest, /) -> None:
        """If the request must be rejected, raises the error to respond with. `request.body` is still empty."""

    def serve(self, request: PlainRequest, /) -> None:
        """Calls `request.respond` or `request.fail` once, now or later. If it raises, the lane calls `request.fail`."""


class RequestRecorder(Protocol):
    """Records the requests of the lane, for the access log."""

    def now_ns(self) -> int:
        """The current time in nanoseconds, for `PlainRequest.started_ns`."""

    def record(self, request: PlainRequest, /) -> None:
        """Called once for each request, when its response is sent or its client has disconnected."""


class IterationBudget:
    """Limits the time that all connections of the lane together use in one iteration of the event loop.

    A single request takes little time, but many clients can send expensive requests at once. `clock` returns monotonic
    seconds.
    """

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._end_s: float | None = None

    def is_spent(self) -> bool:
        """Whether the next request must wait for the next iteration of the event loop."""
        now_s = self._clock()
        if self._end_s is None:
            self._end_s = now_s + MAX_ITERATION_S
            asyncio.get_running_loop().call_soon(self._reset)
        return now_s > self._end_s

    def _reset(self) -> None:
        self._end_s = None


@dataclass(frozen=True, slots=True)
class Lane:
    """The objects that all connections of the lane share."""

    handler: PlainHandler
    in_flight: InFlightRequests
    budget: IterationBudget
    recorder: RequestRecorder | None = None


class LaneServer(Protocol):
    """The server of the lane's connections. BoundedHTTPServer implements it."""

    def connection_opened(self, connection: TimedConnection, /) -> Problem | None:
        """Counts the connection and returns None, or rejects it: returns the problem to respond with."""

    def connection_lost(self, connection: TimedConnection, /) -> None:
        """Stops counting the connection. Does nothing if the connection is not counted."""

    def linger(self, file: int, /) -> None:
        """Starts a lingering close of the connection with this file descriptor. See `LingeringSockets.add`."""

    def begin_hand_over(self, hand_over: Callable[[], None], /) -> None:
        """Calls `hand_over` now, or later if another connection is being handed over. See `HandOvers`."""

    def take_over(self, client: socket.socket, address: tuple[Any, ...], received: bytes, /) -> None:
        """Passes the connection `client` to Tornado. `address` is the address of the client, as `accept` returns it.

        `received` contains the bytes that the lane has read from the socket but not served.
        """
