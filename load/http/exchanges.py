"""Owns what connections of a load share: its patience, and whether the server is still there; on the loop's thread."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tornado.ioloop import PeriodicCallback

from load.http.connection import Answer, Connection, NoConnection

RECONNECT_PAUSE_S = 0.05
LOOKS_A_LIMIT = 20
INTERRUPTED = "interrupted"
"""Why a request has no answer whose sender was cancelled."""


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


class Exchanges:
    """Requests and their answers on any number of connections; `gone` turns true when the server answers none of them.

    `last_answer_ns` is when the last answer came, or when the watch began.
    """

    def __init__(self, *, patience: Patience, clock_ns: Callable[[], int]) -> None:
        self.gone = False
        self.last_answer_ns = 0
        self._patience = patience
        self._clock_ns = clock_ns
        self._busy_since_ns: dict[Connection, int] = {}
        self._silent_since_ns: dict[Connection, int] = {}

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Give up the exchanges that take longer than there is patience for, while the block runs."""
        self.last_answer_ns = self._clock_ns()
        watchdog = PeriodicCallback(self._abandon_silent, self._patience.answer_s * 1000 / LOOKS_A_LIMIT)
        watchdog.start()
        try:
            yield
        finally:
            watchdog.stop()

    async def exchange(self, connection: Connection, request: bytes, begun_ns: int) -> Answer:
        """Send one request and give its answer, or raise NoAnswer; it was begun at `begun_ns`.

        A refused connection is tried again, since nothing was sent and the server may be restarting.
        """
        busy = self._busy_since_ns
        while True:
            busy[connection] = self._clock_ns()
            try:
                answer = await connection.exchange(request)
            except NoConnection:
                if self._clock_ns() - begun_ns > self._patience.connection_s * 1e9:
                    self.gone = self.gone or self.last_answer_ns <= begun_ns
                    raise
                if self.gone:
                    raise
            else:
                self.last_answer_ns = self._clock_ns()
                return answer
            finally:
                del busy[connection]
            await asyncio.sleep(RECONNECT_PAUSE_S)

    def _abandon_silent(self) -> None:
        limit_ns = self._patience.answer_s * 1e9
        now_ns = self._clock_ns()
        before = self._silent_since_ns
        self._silent_since_ns = {
            connection: since for connection, since in self._busy_since_ns.items() if now_ns - since > limit_ns
        }
        # At the second look only: where this process was held up itself, the answers are there and not read yet.
        silent = [connection for connection, since in self._silent_since_ns.items() if before.get(connection) == since]
        if silent and now_ns - self.last_answer_ns > limit_ns:
            self.gone = True
        for connection in silent:
            connection.abandon(f"no answer within {self._patience.answer_s:g} s")
