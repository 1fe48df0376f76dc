"""Sends requests in an open loop: each is sent when it is due, however long earlier responses take.

So the load does not depend on the speed of the server. Runs on the event loop.
"""

import asyncio
from array import array
from collections.abc import Callable, Iterator

from load.http.address import Address
from load.http.connection import Connection
from load.http.connections import Answered, Connections, Key, Timeouts, Unanswered

CHECK_EVERY_S = 0.25  # How often to check whether the server still responds while no request is due.


class SendDelays:
    """Records how late a request was sent with a free connection, and how long it waited without a free connection.

    The client causes the first delay, the server the second. Requests that were due before `counted_from_ns` are not
    counted. Times are in nanoseconds. `last_wait_ns` is how long the last request waited.
    """

    def __init__(self, *, counted_from_ns: int = 0) -> None:
        self.counted_from_ns = counted_from_ns
        self.late_ns = array("q")
        self.waited = 0
        self.longest_wait_ns = 0
        self.last_wait_ns = 0

    def note(self, *, due_ns: int, sent_ns: int, had_connection: bool) -> None:
        late_ns = max(0, sent_ns - due_ns)
        self.last_wait_ns = 0 if had_connection else late_ns
        if due_ns < self.counted_from_ns:
            return
        if had_connection:
            self.late_ns.append(late_ns)
        else:
            self.waited += 1
            self.longest_wait_ns = max(self.longest_wait_ns, late_ns)

    @property
    def count(self) -> int:
        return len(self.late_ns) + self.waited

    def later_than(self, limit_ns: float) -> int:
        """Count the requests that had a free connection but were sent more than `limit_ns` late."""
        return sum(late_ns > limit_ns for late_ns in self.late_ns)


class OpenLoop(Connections):
    """Runs an open loop over up to `limit` connections. Records in `delays` how late requests are sent."""

    def __init__(
        self, address: Address, *, limit: int, timeouts: Timeouts, delays: SendDelays, clock_ns: Callable[[], int]
    ) -> None:
        super().__init__(address, timeouts=timeouts, clock_ns=clock_ns)
        self._limit = limit
        self._delays = delays
        self._idle: list[Connection] = []
        self._freed = asyncio.Event()
        self._free_since_ns = 0

    async def work(
        self, jobs: Iterator[tuple[int, Key, bytes]], *, answered: Answered[Key], unanswered: Unanswered[Key]
    ) -> None:
        """Send every request when it is due, and return when all are answered.

        Each job is a due time, a key and an encoded request; due times must not decrease. A job is taken from the
        iterator only when a connection is available, so that waiting jobs need no memory. If the server stops
        responding, the remaining jobs stay in the iterator.
        """

        async def serve(connection: Connection, due_ns: int, key: Key, request: bytes, had_connection: bool) -> None:
            sent_ns = self._clock_ns()
            self._delays.note(due_ns=due_ns, sent_ns=sent_ns, had_connection=had_connection)
            # A timer can fire up to a millisecond early.
            due_ns = min(due_ns, sent_ns)
            try:
                await self._request(
                    connection, key, request, due_ns=due_ns, sent_ns=sent_ns, answered=answered, unanswered=unanswered
                )
            finally:
                self._give_back(connection)

        with self._watched():
            async with asyncio.TaskGroup() as requests:
                while await self._has_connection():
                    job = next(jobs, None)
                    if job is None or not await self._is_due(job[0]):
                        return
                    if not self._idle:
                        self._connections.append(Connection(self._address))
                        self._idle.append(self._connections[-1])
                    requests.create_task(serve(self._idle.pop(), *job, self._free_since_ns <= job[0]))

    async def _has_connection(self) -> bool:
        """Wait until a connection is free or can be opened; False if the server stopped responding."""
        while not self._idle and len(self._connections) >= self._limit:
            self._freed.clear()
            await self._freed.wait()
        return not self.gone

    async def _is_due(self, due_ns: int) -> bool:
        """Wait until a request is due, to within a millisecond; False if the server stopped responding.

        Yields to the event loop even if the request is already due, so that responses are read.
        """
        left_s = (due_ns - self._clock_ns()) / 1e9
        while left_s > CHECK_EVERY_S and not self.gone:
            await asyncio.sleep(CHECK_EVERY_S)
            left_s = (due_ns - self._clock_ns()) / 1e9
        await asyncio.sleep(max(0.0, left_s))
        return not self.gone

    def _give_back(self, connection: Connection) -> None:
        if not self._idle and len(self._connections) >= self._limit:
            self._free_since_ns = self._clock_ns()
        self._idle.append(connection)
        self._freed.set()
