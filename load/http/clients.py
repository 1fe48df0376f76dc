"""Owns a number of clients that take jobs from one iterator, a closed loop; on the event loop's thread."""

import asyncio
from collections.abc import Callable, Iterator
from typing import TypeVar

from load.http.address import Address
from load.http.connection import Answer, Connection, NoAnswer
from load.http.exchanges import INTERRUPTED, Exchanges, Patience

Key = TypeVar("Key")


class Clients:
    """`count` keep-alive connections; `gone` turns true when the server has stopped answering altogether.

    `last_answer_ns` is when the last answer came, or when `work` began.
    """

    def __init__(self, address: Address, *, count: int, patience: Patience, clock_ns: Callable[[], int]) -> None:
        self._clock_ns = clock_ns
        self._connections = [Connection(address) for _ in range(count)]
        self._exchanges = Exchanges(patience=patience, clock_ns=clock_ns)

    @property
    def gone(self) -> bool:
        return self._exchanges.gone

    @property
    def last_answer_ns(self) -> int:
        return self._exchanges.last_answer_ns

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
        with self._exchanges.watched():
            await asyncio.gather(*(self._serve(one, jobs, answered, unanswered) for one in self._connections))

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
        clock_ns, exchanges = self._clock_ns, self._exchanges
        while not exchanges.gone:
            job = next(jobs, None)
            if job is None:
                return
            key, request = job
            begun_ns = clock_ns()
            try:
                answer = await exchanges.exchange(connection, request, begun_ns)
            except NoAnswer as problem:
                unanswered(key, str(problem))
            except asyncio.CancelledError:
                unanswered(key, INTERRUPTED)
                raise
            else:
                answered(key, answer, exchanges.last_answer_ns - begun_ns)
