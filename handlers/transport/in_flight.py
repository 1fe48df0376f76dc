"""Which requests are in flight, and whether the server still wants more. Lives on the event loop."""

import asyncio
import logging
from collections.abc import Callable

_log = logging.getLogger(__name__)


class InFlightRequests:
    """The count of requests that were read whole and have no answer yet.

    Each of them calls `begin` once and `end` once. `draining` says that connections are to be closed with their next
    answer.
    """

    def __init__(self) -> None:
        self.draining = False
        self.on_drain: set[Callable[[], object]] = set()
        """Called once the server drains, by who would not hear of it otherwise; each takes itself out before."""
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def begin(self) -> None:
        self._in_flight += 1
        self._idle.clear()

    def end(self) -> None:
        self._in_flight -= 1
        if not self._in_flight:
            self._idle.set()

    async def drain(self, timeout_s: float) -> None:
        """Returns when nothing is in flight, or after `timeout_s` seconds."""
        self.draining = True
        for call in list(self.on_drain):
            call()
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            # With no time at all it comes even if nothing is in flight.
            if not self._in_flight:
                return
            _log.warning("%d requests were still in flight", self._in_flight)
