"""The open connections of a server: their number and its limit, and their time-outs. Runs on the event loop."""

import asyncio
import contextlib
import logging
import sys
from collections.abc import Callable, Iterator

from tornado.ioloop import PeriodicCallback

from handlers.transport.timeouts import TimedConnection, Timeouts

CHECKS_PER_TIMEOUT = 4
"""How many times each connection is checked within the shortest time-out."""
MAX_CHECK_INTERVAL_S = 1.0
CHECKS_PER_ITERATION = 200
"""How many connections `close_timed_out` checks before the event loop runs other callbacks."""
WARN_AGAIN_BELOW = 0.9
"""The warning that all connections are in use is not repeated until the number of open connections has fallen to this
fraction of the limit."""

_log = logging.getLogger(__name__)


class OpenConnections:
    """A set of connections, and a timer that checks their time-outs while the set is not empty.

    `count_others` returns how many other connections count towards the limit. `clock` returns monotonic seconds.
    """

    def __init__(
        self, *, timeouts: Timeouts, clock: Callable[[], float], count_others: Callable[[], int] = lambda: 0
    ) -> None:
        self.limit = sys.maxsize
        """The maximum number of open connections."""
        self._count_others = count_others
        self._clock = clock
        self._open: set[TimedConnection] = set()
        self._unused = asyncio.Event()
        self._unused.set()
        self._is_full = False
        interval_s = min(MAX_CHECK_INTERVAL_S, min(timeouts) / CHECKS_PER_TIMEOUT)
        self._timer = PeriodicCallback(self.close_timed_out, interval_s * 1_000)

    def __len__(self) -> int:
        """How many connections are open, including the connections that `count_others` counts."""
        return len(self._open) + self._count_others()

    def __iter__(self) -> Iterator[TimedConnection]:
        """The connections that are open now. Connections can be added and removed during the iteration."""
        return iter(list(self._open))

    def has_room(self) -> bool:
        """Whether another connection can be added. If none can be added, logs a warning, but not for each
        connection."""
        has_room = len(self) < self.limit
        if not has_room:
            if not self._is_full:
                _log.warning("all %d connections are in use: new connections are rejected", self.limit)
            self._is_full = True
        return has_room

    def add(self, connection: TimedConnection) -> None:
        """Adds an open connection."""
        if not self._open:
            self._timer.start()
            self._unused.clear()
        self._open.add(connection)

    def discard(self, connection: TimedConnection) -> None:
        """Removes a connection. Does nothing if it is not in the set."""
        self._open.discard(connection)
        if not self._open:
            self._timer.stop()
            self._unused.set()
        # `_is_full` suppresses further warnings. If `_is_full` became false as soon as one connection is free, there
        # could be a warning for each rejected client.
        self._is_full = self._is_full and len(self) > self.limit * WARN_AGAIN_BELOW

    async def close_timed_out(self) -> None:
        """Closes the connections that exceed a time-out. A timer calls this method while connections are open."""
        for number, connection in enumerate(self, 1):
            try:
                connection.check_timeouts(self._clock())
            except Exception:  # noqa: BLE001 - the other connections must still be checked
                _log.exception("the time-outs of a connection could not be checked")
            if number % CHECKS_PER_ITERATION == 0:
                await asyncio.sleep(0)

    async def wait_until_unused(self, timeout_s: float) -> None:
        """Waits until no connection of this set is open, at most `timeout_s` seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._unused.wait(), timeout_s)
