"""Owns requests that are sent when they are due, however long the answers to others take; on the event loop's thread.

An open loop: a server that is slow is not spared.
"""

import asyncio
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from load.http.address import Address
from load.http.connection import Answer, Connection, NoAnswer
from load.http.departures import Departures
from load.http.exchanges import INTERRUPTED, Exchanges, Patience

Key = TypeVar("Key")
LOOK_EVERY_S = 0.25
"""How soon it is noticed while nothing is due that the server has gone."""


class Timing(NamedTuple):
    """When an answer came, and how long it took from when its request was due and from when it was sent."""

    answered_ns: int
    from_due_ns: int
    from_sending_ns: int


class Arrivals:
    """Up to `limit` keep-alive connections, opened as they are needed, the one used last first.

    Where all are busy, a request that is due waits, and its time runs; `departures` hears of it. `gone` turns true when
    the server has stopped answering altogether.
    """

    def __init__(
        self,
        address: Address,
        *,
        limit: int,
        patience: Patience,
        departures: Departures,
        clock_ns: Callable[[], int],
    ) -> None:
        self._address = address
        self._limit = limit
        self._departures = departures
        self._clock_ns = clock_ns
        self._exchanges = Exchanges(patience=patience, clock_ns=clock_ns)
        self._connections: list[Connection] = []
        self._idle: list[Connection] = []
        self._freed = asyncio.Event()
        self._free_since_ns = 0

    @property
    def gone(self) -> bool:
        return self._exchanges.gone

    @property
    def last_answer_ns(self) -> int:
        return self._exchanges.last_answer_ns

    async def work(
        self,
        jobs: Iterator[tuple[int, Key, bytes]],
        *,
        answered: Callable[[Key, Answer, Timing], None],
        unanswered: Callable[[Key, str], None],
    ) -> None:
        """Send every request when it is due, and return when all have their answers.

        Each job is when it is due, never before the one before it, a key and an encoded request. A job is taken from
        the iterator while there is a connection for it, so that what waits costs no memory; when the server has gone,
        the rest is left.
        """
        with self._exchanges.watched():
            async with asyncio.TaskGroup() as under_way:
                while await self._has_connection():
                    job = next(jobs, None)
                    if job is None or not await self._is_due(job[0]):
                        return
                    connection = self._take()
                    had_connection = self._free_since_ns <= job[0]
                    under_way.create_task(self._serve(connection, *job, had_connection, answered, unanswered))

    def close(self) -> None:
        """Close every connection; may be called twice."""
        for connection in self._connections:
            connection.close()

    async def _has_connection(self) -> bool:
        """Wait until a connection is free or may be opened; False when the server has gone."""
        while not self._idle and len(self._connections) >= self._limit:
            self._freed.clear()
            await self._freed.wait()
        return not self.gone

    async def _is_due(self, due_ns: int) -> bool:
        """Wait until then, to the millisecond that a loop's timers are exact to; False when the server has gone.

        A turn of the loop passes even where nothing is to be waited for: a client that is late must not keep itself
        from reading the answers.
        """
        left_s = (due_ns - self._clock_ns()) / 1e9
        while left_s > LOOK_EVERY_S and not self.gone:
            await asyncio.sleep(LOOK_EVERY_S)
            left_s = (due_ns - self._clock_ns()) / 1e9
        await asyncio.sleep(max(0.0, left_s))
        return not self.gone

    def _take(self) -> Connection:
        if self._idle:
            return self._idle.pop()
        connection = Connection(self._address)
        self._connections.append(connection)
        return connection

    def _give_back(self, connection: Connection) -> None:
        if not self._idle and len(self._connections) >= self._limit:
            self._free_since_ns = self._clock_ns()
        self._idle.append(connection)
        self._freed.set()

    async def _serve(
        self,
        connection: Connection,
        due_ns: int,
        key: Key,
        request: bytes,
        had_connection: bool,
        answered: Callable[[Key, Answer, Timing], None],
        unanswered: Callable[[Key, str], None],
    ) -> None:
        begun_ns = self._clock_ns()
        self._departures.note(due_ns=due_ns, sent_ns=begun_ns, had_connection=had_connection)
        try:
            answer = await self._exchanges.exchange(connection, request, begun_ns)
        except NoAnswer as problem:
            unanswered(key, str(problem))
        except asyncio.CancelledError:
            unanswered(key, INTERRUPTED)
            raise
        else:
            now_ns = self.last_answer_ns
            # A timer may be early, to the millisecond.
            answered(key, answer, Timing(now_ns, now_ns - min(due_ns, begun_ns), now_ns - begun_ns))
        finally:
            self._give_back(connection)
