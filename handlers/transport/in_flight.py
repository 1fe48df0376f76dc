"""Counts the requests in flight, and lets the server drain them before it stops. Runs on the event loop."""

import asyncio
import logging
from typing import Protocol

_log = logging.getLogger(__name__)


class DrainListener(Protocol):
    """A request that must be notified of a drain even if its client sends no data."""

    def drain_started(self) -> None:
        """Called once, when the server begins to drain."""


class InFlightRequests:
    """The number of requests that are being served.

    A request is served from the end of the body, or from the headers for an NDJSON stream, until the response. It calls
    `begin` once and `end` once. While `draining` is set, each response closes its connection.
    """

    def __init__(self) -> None:
        self.draining = False
        self.drain_listeners: set[DrainListener] = set()
        """A listener removes itself when its request ends."""
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def count(self) -> int:
        """How many requests are in flight."""
        return self._in_flight

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
        for listener in list(self.drain_listeners):
            listener.drain_started()
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            # With a time-out of 0 it is raised even if nothing is in flight.
            if not self._in_flight:
                return
            _log.warning("%d requests were still in flight", self._in_flight)
