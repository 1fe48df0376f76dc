"""Owns a number of clients that take jobs from one iterator, and their patience; on the event loop's thread."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from tornado.ioloop import PeriodicCallback

from load.address import Address
from load.connection import Answer, Connection, NoAnswer, NoConnection

Key = TypeVar("Key")
RECONNECT_PAUSE_S = 0.05


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait before saying that nothing comes, in seconds; every one of them is a limit, none is a delay."""

    answer_s: float = 30.0
    """For the answer to one request, its connecting included."""
    connection_s: float = 5.0
    """For a server that refuses connections to come back, as one does that restarts."""
    processing_s: float = 30.0
    """For accepted orders to be processed, counted anew whenever something moves."""
    poll_s: float = 0.05
    """Between two looks at what is left to be processed."""


class Clients:
    """`count` keep-alive connections; `gone` turns true when the server has stopped answering altogether.

    `last_answer_ns` is when the last answer came, or when `work` began.
    """

    def __init__(self, address: Address, *, count: int, patience: Patience, clock_ns: Callable[[], int]) -> None:
        self.gone = False
        self._clock_ns = clock_ns
        self._patience = patience
        self._connections = [Connection(address) for _ in range(count)]
        self._busy_since_ns: dict[Connection, int] = {}
        self.last_answer_ns = 0

    async def work(
        self,
        jobs: Iterator[tuple[Key, bytes]],
        *,
        answered: Callable[[Key, Answer, int], None],
        unanswered: Callable[[Key, str], None],
    ) -> None:
        """Have every client send the next request as soon as its last is answered, until there are no more.

        Each job is a key and an encoded request. `answered` is called with the key, the answer and the nanoseconds
        that it took, the connecting included; `unanswered` with the key and the reason. Jobs that no client had taken
        when the server went away stay in the iterator.
        """
        self.last_answer_ns = self._clock_ns()
        watchdog = PeriodicCallback(self._abandon_silent, self._patience.answer_s * 1000 / 20)
        watchdog.start()
        try:
            await asyncio.gather(*(self._serve(one, jobs, answered, unanswered) for one in self._connections))
        finally:
            watchdog.stop()

    def close(self) -> None:
        """Close every connection; may be called twice."""
        for connection in self._connections:
            connection.close()

    async def _serve(
        self,
        connection: Connection,
        jobs: Iterator[tuple[Key, bytes]],
        answered: Callable[[Key, Answer, int], None],
        unanswered: Callable[[Key, str], None],
    ) -> None:
        clock_ns = self._clock_ns
        while not self.gone:
            job = next(jobs, None)
            if job is None:
                return
            key, request = job
            begun_ns = clock_ns()
            try:
                answer = await self._exchange(connection, request, begun_ns)
            except NoAnswer as problem:
                unanswered(key, str(problem))
            except asyncio.CancelledError:
                unanswered(key, "interrupted")
                raise
            else:
                self.last_answer_ns = now_ns = clock_ns()
                answered(key, answer, now_ns - begun_ns)

    async def _exchange(self, connection: Connection, request: bytes, begun_ns: int) -> Answer:
        """One request; a refused connection is tried again, since nothing was sent and the server may be restarting."""
        busy = self._busy_since_ns
        while True:
            busy[connection] = self._clock_ns()
            try:
                return await connection.exchange(request)
            except NoConnection:
                if self._clock_ns() - begun_ns > self._patience.connection_s * 1e9:
                    self.gone = self.gone or self.last_answer_ns <= begun_ns
                    raise
                if self.gone:
                    raise
            finally:
                del busy[connection]
            await asyncio.sleep(RECONNECT_PAUSE_S)

    def _abandon_silent(self) -> None:
        limit_ns = self._patience.answer_s * 1e9
        now_ns = self._clock_ns()
        silent = [connection for connection, since in self._busy_since_ns.items() if now_ns - since > limit_ns]
        if silent and now_ns - self.last_answer_ns > limit_ns:
            self.gone = True
        for connection in silent:
            connection.abandon(f"no answer within {self._patience.answer_s:g} s")
