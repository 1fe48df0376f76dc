"""Sends requests on keep-alive connections to one server. Reconnects, and detects that the server stopped responding.

The caller gives each request a key, and gets the key back with the response. Runs on the event loop.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from tornado.ioloop import PeriodicCallback

from load.http.address import Address
from load.http.connection import Connection, NoConnection, NoResponse, Response

RECONNECT_PAUSE_S = 0.05
CHECKS_PER_TIMEOUT = 20
INTERRUPTED = "interrupted"  # Why a request got no response if its task was cancelled.
Key = TypeVar("Key")
Unanswered = Callable[[Key, str], None]  # Called with a request's key, and why it got no response.


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Limits for waiting, and the pause between polls. All are in seconds."""

    answer_s: float = 30.0  # The limit for the response to one request, including the time to connect.
    connection_s: float = 5.0  # How long a server can refuse connections, for example because it restarts.
    processing_s: float = 30.0  # The limit for processing. It starts again whenever an order has been processed.
    poll_s: float = 0.05  # The pause between two polls for orders that are not processed yet.


class RequestTiming(NamedTuple):
    """When a response came, and its latencies, in nanoseconds. In a closed loop, a request is due when it is sent."""

    answered_ns: int
    from_due_ns: int
    from_sending_ns: int


Answered = Callable[[Key, Response, RequestTiming], None]  # Called with a request's key, and its response.


class Connections:
    """Sends requests on connections to one server. `gone` becomes true when the server has stopped responding.

    `last_answer_ns` is when the last response came, or when `work` began.
    """

    def __init__(self, address: Address, *, timeouts: Timeouts, clock_ns: Callable[[], int]) -> None:
        self.gone = False
        self.last_answer_ns = 0
        self._address = address
        self._timeouts = timeouts
        self._clock_ns = clock_ns
        self._connections: list[Connection] = []
        self._busy_since_ns: dict[Connection, int] = {}
        self._overdue: dict[Connection, int] = {}

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """While the block runs, abandon requests that get no response in time."""
        self.last_answer_ns = self._clock_ns()
        watchdog = PeriodicCallback(self._abandon_overdue, self._timeouts.answer_s * 1000 / CHECKS_PER_TIMEOUT)
        watchdog.start()
        try:
            yield
        finally:
            watchdog.stop()

    async def _request(
        self,
        connection: Connection,
        key: Key,
        request: bytes,
        *,
        due_ns: int,
        sent_ns: int,
        answered: Answered[Key],
        unanswered: Unanswered[Key],
    ) -> None:
        """Send one request. Call `answered` with its response, or `unanswered` with the reason why there is none."""
        try:
            response = await self._send(connection, request, sent_ns)
        except NoResponse as problem:
            unanswered(key, str(problem))
        except asyncio.CancelledError:
            unanswered(key, INTERRUPTED)
            raise
        else:
            now_ns = self.last_answer_ns
            answered(key, response, RequestTiming(now_ns, now_ns - due_ns, now_ns - sent_ns))

    async def _send(self, connection: Connection, request: bytes, begun_ns: int) -> Response:
        """Send a request and return its response. Connect again if the connection is refused. Raises NoResponse."""
        busy = self._busy_since_ns
        while True:
            busy[connection] = self._clock_ns()
            try:
                response = await connection.exchange(request)
            except NoConnection:
                if self._clock_ns() - begun_ns > self._timeouts.connection_s * 1e9:
                    self.gone = self.gone or self.last_answer_ns <= begun_ns
                    raise
                if self.gone:
                    raise
            else:
                self.last_answer_ns = self._clock_ns()
                return response
            finally:
                del busy[connection]
            await asyncio.sleep(RECONNECT_PAUSE_S)

    def _abandon_overdue(self) -> None:
        limit_ns = self._timeouts.answer_s * 1e9
        now_ns = self._clock_ns()
        before = self._overdue
        self._overdue = {one: since_ns for one, since_ns in self._busy_since_ns.items() if now_ns - since_ns > limit_ns}
        # Abandon a connection only if two checks in a row find it overdue. If this process was delayed, the first check
        # can run before it reads responses that have already arrived.
        abandoned = [one for one, since_ns in self._overdue.items() if before.get(one) == since_ns]
        if abandoned and now_ns - self.last_answer_ns > limit_ns:
            self.gone = True
        for connection in abandoned:
            connection.abandon(f"no answer within {self._timeouts.answer_s:g} s")


class ClosedLoop(Connections):
    """Runs a closed loop: each of `count` clients sends a request, waits for the response, and so on."""

    def __init__(self, address: Address, *, count: int, timeouts: Timeouts, clock_ns: Callable[[], int]) -> None:
        super().__init__(address, timeouts=timeouts, clock_ns=clock_ns)
        self._connections = [Connection(address) for _ in range(count)]

    async def work(
        self, jobs: Iterator[tuple[Key, bytes]], *, answered: Answered[Key], unanswered: Unanswered[Key]
    ) -> None:
        """Have every client send requests until there are no more jobs, or the server stops responding.

        Each job is a key and an encoded request. `answered` or `unanswered` is called with the key. If the server stops
        responding, jobs that no client has taken stay in the iterator.
        """

        async def serve(connection: Connection) -> None:
            while not self.gone and (job := next(jobs, None)) is not None:
                sent_ns = self._clock_ns()
                await self._request(
                    connection, *job, due_ns=sent_ns, sent_ns=sent_ns, answered=answered, unanswered=unanswered
                )

        with self._watched():
            await asyncio.gather(*map(serve, self._connections))
