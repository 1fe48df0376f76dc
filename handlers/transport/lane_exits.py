"""How connections leave the plain lane (`handlers/transport/lane.py`). Runs on the event loop."""

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable

from handlers.problems.problem import Problem
from handlers.transport.lane import NO_ROOM, LaneServer
from handlers.transport.responses import last_response

HAND_OVER_INTERVAL_S = 0.001
"""The time between two hand-overs, if few connections wait for a hand-over."""
MAX_HAND_OVER_WAIT_S = 1.0
"""How long a connection waits for its hand-over. If many connections wait, the interval is shorter."""
HAND_OVER_ATTEMPTS = 100
"""How often a hand-over tries to get a file descriptor: for a second. Another part of the server can use the last
one for a short time (see `SPARE_FILES`), which is longer on a busy machine."""
HAND_OVER_DELAY_S = 0.01
"""The time between two attempts to get a file descriptor."""
_MAX_UNREAD_BYTES = 64 * 1024


class HandOvers:
    """Hands over one connection to Tornado at a time, at intervals of `HAND_OVER_INTERVAL_S`.

    Tornado takes ten times as long as the lane for a request. If many connections were handed over without pauses, all
    other clients would wait while Tornado serves the requests of these connections. During a hand-over, the connection
    has two file descriptors, until the lane's transport closes the first descriptor in the next iteration of the event
    loop.
    """

    def __init__(self) -> None:
        self._has_intervals = True
        self._is_running = False
        self._waiting: deque[Callable[[], None]] = deque()

    def begin(self, hand_over: Callable[[], None]) -> None:
        """Calls `hand_over` now, or after the hand-overs that already wait."""
        self._waiting.append(hand_over)
        if not self._is_running:
            self._run_next()

    def end_intervals(self) -> None:
        """From now on, hands over a connection in each iteration of the event loop. Can be called twice."""
        self._has_intervals = False

    def _run_next(self) -> None:
        self._is_running = bool(self._waiting)
        if self._waiting:
            # `hand_over` aborts the transport, which schedules a callback that closes the file descriptor. The next
            # `_run_next` is scheduled after that callback, so it runs later.
            try:
                self._waiting.popleft()()
            finally:
                loop = asyncio.get_running_loop()
                if self._has_intervals:
                    most_s = MAX_HAND_OVER_WAIT_S / (len(self._waiting) + 1)
                    loop.call_later(min(HAND_OVER_INTERVAL_S, most_s), self._run_next)
                else:
                    loop.call_soon(self._run_next)


def hand_over(
    transport: asyncio.Transport,
    begin: Callable[[socket.socket], None],
    attempts: int = HAND_OVER_ATTEMPTS,
) -> None:
    """Aborts the transport, and calls `begin` with a duplicate of its socket.

    Sends a 503 instead if no file descriptor is free. Does nothing if the connection is closed.
    """
    if transport.is_closing():
        return
    try:
        client = socket.socket(fileno=os.dup(_file_of(transport)))
    except OSError:
        if attempts > 1:  # another thread can need the last file descriptor for a moment
            asyncio.get_running_loop().call_later(HAND_OVER_DELAY_S, hand_over, transport, begin, attempts - 1)
            return
        transport.write(last_response(NO_ROOM))
        transport.close()
        return
    client.setblocking(False)
    transport.abort()
    begin(client)


def begin_lingering_close(transport: asyncio.Transport, server: LaneServer) -> None:
    """Aborts the transport, but lets a client that is still sending read its responses."""
    if not transport.is_closing():
        server.linger(_file_of(transport))
        transport.abort()


def reject(transport: asyncio.Transport, problem: Problem) -> None:
    """Responds with the problem before the client has sent a request, and closes the connection."""
    # Does not write through the transport, which would close the file descriptor some iterations later: few
    # descriptors are left. Reads the received bytes, because closing a socket with unread bytes sends a reset.
    file = _file_of(transport)
    with contextlib.suppress(OSError):
        os.write(file, last_response(problem))
        os.read(file, _MAX_UNREAD_BYTES)
    transport.abort()


def _file_of(transport: asyncio.Transport) -> int:
    file: int = transport.get_extra_info("socket").fileno()
    return file
