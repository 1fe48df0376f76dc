"""Counts requests and responses. Drains requests: finishes them before the server stops. Runs on the event loop."""

import asyncio
import logging
from collections import Counter
from typing import Protocol

_log = logging.getLogger(__name__)


class DrainListener(Protocol):
    """A request that could wait for its client without limit, and is therefore notified when the drain starts."""

    def drain_started(self) -> None:
        """Called once, when the drain starts. The request must then end soon, because the drain waits for it."""


class InFlightRequests:
    """The requests that are being served.

    A request is in flight from the end of its body until the response. An NDJSON stream is in flight from its headers
    on. Repeated calls of `begin` or `end` for the same request have no effect. While `draining` is true, each response
    has `Connection: close`.
    """

    def __init__(self, responses: Counter[int] | None = None) -> None:
        self.is_stop_announced = False
        """Whether the server will stop soon."""
        self.draining = False
        self.drain_listeners: set[DrainListener] = set()
        """A listener removes itself when it no longer waits for its client."""
        self.responses: Counter[int] = Counter() if responses is None else responses
        """How many responses had each status. Callers count a response when they send it."""
        self._requests: set[object] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def is_stopping(self) -> bool:
        """Whether the server will stop soon, or is stopping. Then `/readyz` responds with 503."""
        return self.is_stop_announced or self.draining

    @property
    def count(self) -> int:
        """How many requests are in flight."""
        return len(self._requests)

    def begin(self, request: object) -> None:
        """Adds the request that the object `request` serves. This object must not serve a second request."""
        if not self._requests:
            self._idle.clear()
        self._requests.add(request)

    def end(self, request: object) -> None:
        """Removes a request. Does nothing if it is not in flight."""
        self._requests.discard(request)
        if not self._requests:
            self._idle.set()

    async def drain(self, timeout_s: float) -> None:
        """Sets `draining`, and waits until no request is in flight, at most `timeout_s` seconds."""
        self.draining = True
        for listener in list(self.drain_listeners):
            listener.drain_started()
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            # With a time-out of 0, `wait_for` raises TimeoutError even if no request is in flight.
            if not self._requests:
                return
            _log.warning("the drain timed out: %d requests are still in flight", self.count)
