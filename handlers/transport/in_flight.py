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

    A request is served from the end of the body, or from the headers for an NDJSON stream, until the response. It is
    represented by the object that serves it, so it counts once, however often it begins or ends. While `draining` is
    set, each response closes its connection.
    """

    def __init__(self) -> None:
        self.draining = False
        self.drain_listeners: set[DrainListener] = set()
        """A listener removes itself when its request ends."""
        self._requests: set[object] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def count(self) -> int:
        """How many requests are in flight."""
        return len(self._requests)

    def begin(self, request: object) -> None:
        """Counts the request until it ends. `request` must be compared by identity, and serve one request only."""
        self._requests.add(request)
        self._idle.clear()

    def end(self, request: object) -> None:
        """Does not count the request any more. Does nothing if it is not counted."""
        self._requests.discard(request)
        if not self._requests:
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
            if not self._requests:
                return
            _log.warning("%d requests were still in flight", self.count)
