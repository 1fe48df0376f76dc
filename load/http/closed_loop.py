"""A closed loop: clients that each send their next request when the last one is answered. Runs on the event loop."""

import asyncio
from collections.abc import Callable, Iterator

from load.http.address import Address
from load.http.connection import Connection
from load.http.connections import Connections, Key, RequestTiming, Timeouts
from load.http.response import Response


class ClosedLoop(Connections):
    """`count` clients with one keep-alive connection each."""

    def __init__(self, address: Address, *, count: int, timeouts: Timeouts, clock_ns: Callable[[], int]) -> None:
        super().__init__(address, timeouts=timeouts, clock_ns=clock_ns)
        self._connections = [Connection(address) for _ in range(count)]

    async def work(
        self,
        jobs: Iterator[tuple[Key, bytes]],
        *,
        answered: Callable[[Key, Response, RequestTiming], None],
        unanswered: Callable[[Key, str], None],
    ) -> None:
        """Let every client send requests until there are no more, or the server is gone.

        Each job is a key and an encoded request; `answered` and `unanswered` are called with its key. Jobs that no
        client had taken when the server went away stay in the iterator.
        """

        async def serve(connection: Connection) -> None:
            while not self.gone and (job := next(jobs, None)) is not None:
                sent_ns = self._clock_ns()
                await self._request(
                    connection, *job, due_ns=sent_ns, sent_ns=sent_ns, answered=answered, unanswered=unanswered
                )

        with self._watched():
            await asyncio.gather(*map(serve, self._connections))
