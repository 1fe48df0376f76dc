"""Sends requests on keep-alive connections to one server. Reconnects, and detects that the server stopped responding.

The caller gives each request a key, and gets the key back with the response. In a closed loop, each client sends its
next request after the response to the previous one. In an open loop, each request is sent when it is due, however long
earlier responses take. So the load does not depend on the speed of the server. Runs on the event loop.
"""

import asyncio
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, NamedTuple, TypeVar

from tornado.ioloop import PeriodicCallback

from load.http.address import Address
from load.http.connection import Connection, NoConnection, NoResponse, Response

RECONNECT_PAUSE_S = 0.05
CHECKS_PER_TIMEOUT = 20
CHECK_EVERY_S = 0.25  # How often an open loop checks whether the server still responds while no request is due.
INTERRUPTED = "interrupted"  # Why a request got no response if its task was cancelled.
Key = TypeVar("Key")
Unanswered = Callable[[Key, str], None]  # Called with a request's key, and why it got no response.


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Limits for waiting, and the pause between polls. All are in seconds."""

    answer_s: float = 30.0  # The limit for the response to one request, including the time to connect.
    connection_s: float = 5.0  # How long a server can refuse connections, for example because it restarts.
    processing_s: float = 30.0  # The limit for processing. Each processed order starts this time again.
    poll_s: float = 0.05  # The pause between two polls for orders that are not processed yet.


DEFAULT_TIMEOUTS = Timeouts()


class RequestTiming(NamedTuple):
    """When a response came, and its latencies, in nanoseconds. In a closed loop, a request is due when it is sent."""

    answered_ns: int
    from_due_ns: int
    from_sending_ns: int


Answered = Callable[[Key, Response, RequestTiming], None]  # Called with a request's key, and its response.


class SendDelays:
    """Records how late each request was sent for which a connection was free: the client causes this delay.

    Requests that were due before `counted_from_ns` are not counted. Times are in nanoseconds. `last_wait_ns` is how
    long the last request waited for a free connection: the server causes this delay.
    """

    def __init__(self, *, counted_from_ns: int = 0) -> None:
        self.counted_from_ns = counted_from_ns
        self.late_ns = array("q")
        self.last_wait_ns = 0

    def note(self, *, due_ns: int, sent_ns: int, had_connection: bool) -> None:
        late_ns = max(0, sent_ns - due_ns)
        self.last_wait_ns = 0 if had_connection else late_ns
        if had_connection and due_ns >= self.counted_from_ns:
            self.late_ns.append(late_ns)

    def later_than(self, limit_ns: float) -> int:
        """Count the requests that had a free connection but were sent more than `limit_ns` late."""
        return sum(late_ns > limit_ns for late_ns in self.late_ns)


@dataclass(eq=False)
class Connections:
    """Sends requests on up to `count` connections to one server, in a closed or in an open loop.

    `gone` becomes true when the server has stopped responding. `last_answer_ns` is when the last response came, or when
    the loop began. `delays` records how late the requests of open loops are sent.
    """

    address: Address
    _: KW_ONLY
    count: int
    timeouts: Timeouts = DEFAULT_TIMEOUTS
    clock_ns: Callable[[], int] = time.perf_counter_ns
    delays: SendDelays = field(default_factory=SendDelays)
    gone: bool = field(default=False, init=False)
    last_answer_ns: int = field(default=0, init=False)
    _connections: list[Connection] = field(default_factory=list, init=False)
    _busy_since_ns: dict[Connection, int] = field(default_factory=dict, init=False)
    _overdue: dict[Connection, int] = field(default_factory=dict, init=False)
    _idle: list[Connection] = field(default_factory=list, init=False)
    _free_since_ns: int = field(default=0, init=False)

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    async def work(
        self, jobs: Iterator[tuple[Key, bytes]], *, answered: Answered[Key], unanswered: Unanswered[Key]
    ) -> None:
        """Run a closed loop until there are no more jobs, or the server stops responding.

        Each job is a key and an encoded request. `answered` or `unanswered` is called with the key. On each connection,
        the next request is sent after the response to the previous one. If the server stops responding, jobs that were
        not begun stay in the iterator.
        """

        async def serve(connection: Connection) -> None:
            while not self.gone and (job := next(jobs, None)) is not None:
                sent_ns = self.clock_ns()
                await self._request(connection, *job, due_ns=sent_ns, sent_ns=sent_ns)

        self._connections += [Connection(self.address) for _ in range(self.count - len(self._connections))]
        with self._watched(answered, unanswered):
            await asyncio.gather(*map(serve, self._connections))

    async def work_when_due(
        self, jobs: Iterator[tuple[int, Key, bytes]], *, answered: Answered[Key], unanswered: Unanswered[Key]
    ) -> None:
        """Run an open loop: send every request when it is due, and return when all are answered.

        Each job is a due time, a key and an encoded request; due times must not decrease. Only the next job is taken
        from the iterator, so that waiting jobs need no memory. If the server stops responding, the other jobs stay in
        the iterator.
        """
        free = asyncio.Semaphore(self.count)

        async def serve(connection: Connection, due_ns: int, key: Key, request: bytes, had_connection: bool) -> None:
            sent_ns = self.clock_ns()
            self.delays.note(due_ns=due_ns, sent_ns=sent_ns, had_connection=had_connection)
            try:
                # A timer can fire up to a millisecond early.
                await self._request(connection, key, request, due_ns=min(due_ns, sent_ns), sent_ns=sent_ns)
            finally:
                if free.locked():
                    self._free_since_ns = self.clock_ns()
                self._idle.append(connection)
                free.release()

        with self._watched(answered, unanswered):
            async with asyncio.TaskGroup() as requests:
                for job in jobs:
                    await self._wait_until(job[0])
                    await free.acquire()
                    if self.gone:
                        return
                    if not self._idle:
                        self._connections.append(Connection(self.address))
                        self._idle.append(self._connections[-1])
                    requests.create_task(serve(self._idle.pop(), *job, self._free_since_ns <= job[0]))

    @contextmanager
    def _watched(self, answered: Answered[Any], unanswered: Unanswered[Any]) -> Iterator[None]:
        """While the block runs, abandon requests that get no response in time. Report responses to these functions."""
        self._answered, self._unanswered = answered, unanswered
        self.last_answer_ns = self.clock_ns()
        watchdog = PeriodicCallback(self._abandon_overdue, self.timeouts.answer_s * 1000 / CHECKS_PER_TIMEOUT)
        watchdog.start()
        try:
            yield
        finally:
            watchdog.stop()

    async def _request(self, connection: Connection, key: object, request: bytes, *, due_ns: int, sent_ns: int) -> None:
        """Send one request. Report its response, or the reason why there is none."""
        try:
            response = await self._send(connection, request, sent_ns)
        except NoResponse as problem:
            self._unanswered(key, str(problem))
        except asyncio.CancelledError:
            self._unanswered(key, INTERRUPTED)
            raise
        else:
            now_ns = self.last_answer_ns
            self._answered(key, response, RequestTiming(now_ns, now_ns - due_ns, now_ns - sent_ns))

    async def _send(self, connection: Connection, request: bytes, begun_ns: int) -> Response:
        """Send a request and return its response. Connect again if the connection is refused. Raises NoResponse."""
        busy = self._busy_since_ns
        while True:
            busy[connection] = self.clock_ns()
            try:
                response = await connection.exchange(request)
            except NoConnection:
                if self.clock_ns() - begun_ns > self.timeouts.connection_s * 1e9:
                    self.gone = self.gone or self.last_answer_ns <= begun_ns
                    raise
                if self.gone:
                    raise
            else:
                self.last_answer_ns = self.clock_ns()
                return response
            finally:
                del busy[connection]
            await asyncio.sleep(RECONNECT_PAUSE_S)

    def _abandon_overdue(self) -> None:
        limit_ns = self.timeouts.answer_s * 1e9
        now_ns = self.clock_ns()
        before = self._overdue
        self._overdue = {one: since_ns for one, since_ns in self._busy_since_ns.items() if now_ns - since_ns > limit_ns}
        # Abandon a connection only if two checks in a row find it overdue. If this process was delayed, the first check
        # can run before it reads responses that have already arrived.
        abandoned = [one for one, since_ns in self._overdue.items() if before.get(one) == since_ns]
        if abandoned and now_ns - self.last_answer_ns > limit_ns:
            self.gone = True
        for connection in abandoned:
            connection.abandon(f"no answer within {self.timeouts.answer_s:g} s")

    async def _wait_until(self, due_ns: int) -> None:
        """Wait until a request is due, to within a millisecond, or until the server stopped responding.

        Yields to the event loop even if the request is already due, so that responses are read.
        """
        left_s = (due_ns - self.clock_ns()) / 1e9
        while left_s > CHECK_EVERY_S and not self.gone:
            await asyncio.sleep(CHECK_EVERY_S)
            left_s = (due_ns - self.clock_ns()) / 1e9
        await asyncio.sleep(max(0.0, left_s))
