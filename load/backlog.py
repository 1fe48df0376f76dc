"""Owns the watching of GET /metrics for the moment when nothing is left to be processed, on the event loop's thread."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any, Self

from load.cli.errors import CommandError
from load.http.address import Address
from load.http.asking import ask
from load.http.connection import Answer, Connection, NoAnswer
from load.http.exchanges import Patience
from load.orders.comparison import BadJson, decode_json

WATCH_EVERY_S = 0.25
QUIET_S = 2.0
"""Orders that were there before and have not moved for so long are taken for ones that wait for a time of their own."""
MOST_ORDERS = 2**63 - 1
FINISHED = ("failed_orders", "cancelled_orders")
"""Counts that a server need not have, beside that of the completed ones."""


class NoMetrics(CommandError):
    """The answer does not say how many orders wait."""


class NotAllowed(NoMetrics):
    """The server wants an API key, or another one; `status` is 401 or 403."""

    def __init__(self, status: int) -> None:
        super().__init__(f"GET /metrics: status {status}")
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Numbers of orders: `waiting` for processing or in it, `completed`, and `finished` in whatever way."""

    waiting: int
    completed: int
    finished: int

    @property
    def orders(self) -> int:
        """All that there are, in whatever state."""
        return self.waiting + self.finished

    @classmethod
    def parse(cls, answer: Answer) -> Self:
        """Read an answer; NoMetrics when the counts are not there or are no whole numbers from 0."""
        if answer.status in (401, 403):
            raise NotAllowed(answer.status)
        if answer.status != 200:
            raise NoMetrics(f"GET /metrics: status {answer.status}")
        try:
            counts = decode_json(answer.body)
        except BadJson:
            counts = None
        if not isinstance(counts, dict):
            raise NoMetrics("GET /metrics: no JSON object")
        completed = _count(counts, "completed_orders")
        return cls(
            waiting=_count(counts, "pending_orders") + _count(counts, "processing_orders"),
            completed=completed,
            finished=completed + sum(_count(counts, name) for name in FINISHED if name in counts),
        )


def _count(counts: dict[str, Any], name: str) -> int:
    count = counts.get(name)
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= MOST_ORDERS:
        raise NoMetrics(f"GET /metrics: {name} is missing or no number of orders")
    return count


class BacklogState(Enum):
    """What the metrics say: all that was there has been processed, nothing moves any more, or no metrics came."""

    PROCESSED = "processed"
    STUCK = "stuck"
    UNKNOWN = "unknown"


class Backlog:
    """The server's orders that are not processed yet, others' included; `left` is their number at the last look.

    `moved_ns` is when `wait` saw them change last.

    `seen` is called with it at every look.
    """

    def __init__(
        self,
        address: Address,
        *,
        patience: Patience,
        clock_ns: Callable[[], int],
        seen: Callable[[int], None] = lambda waiting: None,
    ) -> None:
        self.left = 0
        self.moved_ns = 0
        self._request = address.get("/metrics")
        self._connection = Connection(address)
        self._patience = patience
        self._clock_ns = clock_ns
        self._seen = seen

    async def look(self) -> Metrics:
        """Ask once; NoAnswer or NoMetrics when nothing useful comes."""
        answer = await ask(self._connection, self._request, limit_s=self._patience.answer_s)
        metrics = Metrics.parse(answer)
        self.left = metrics.waiting
        self._seen(metrics.waiting)
        return metrics

    async def watch(self, end: asyncio.Event) -> None:
        """Look about four times a second, once at least, until the end is set or no metrics come."""
        while True:
            try:
                await self.look()
            except NoMetrics:
                return
            except NoAnswer:
                pass
            with suppress(TimeoutError):
                async with asyncio.timeout(WATCH_EVERY_S):
                    await end.wait()
            if end.is_set():
                return

    async def wait(self, *, before: int) -> BacklogState:
        """Wait until none waits, or as many were finished as are waiting at first: others may go on sending.

        Or until no more wait than did `before` the load and nothing moves: orders of others may wait for hours.
        """
        first: Metrics | None = None
        seen: Metrics | None = None
        heard_ns = self.moved_ns = self._clock_ns()
        quiet_ns = min(QUIET_S, self._patience.processing_s) * 1e9
        while True:
            try:
                now = await self.look()
            except NoMetrics:
                return BacklogState.UNKNOWN
            except NoAnswer:
                if self._clock_ns() - heard_ns > self._patience.connection_s * 1e9:
                    return BacklogState.UNKNOWN
            else:
                first = first or now
                heard_ns = self._clock_ns()
                if now != seen:
                    seen, self.moved_ns = now, heard_ns
                if now.waiting == 0 or now.finished - first.finished >= first.waiting:
                    return BacklogState.PROCESSED
                still_ns = heard_ns - self.moved_ns
                if now.waiting <= before and still_ns > quiet_ns:
                    return BacklogState.PROCESSED
                if still_ns > self._patience.processing_s * 1e9:
                    return BacklogState.STUCK
            await asyncio.sleep(self._patience.poll_s)

    def close(self) -> None:
        """Close the connection; may be called twice."""
        self._connection.close()
