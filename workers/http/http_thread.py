"""Sends requests over libcurl. One thread drives all connections."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from workers.backoff import Backoff
from workers.http.messages import Failure, Response
from workers.http.target import Target
from workers.http.transfers import Exchange, Transfers, internal_failure
from workers.http.wakeup import Wakeup

_log = logging.getLogger(__name__)


class ExchangeSource(Protocol):
    """Supplies an `HttpThread` with requests."""

    def next_exchange(self) -> Exchange | None:
        """The next request; None if there is none now. Called on the thread of `HttpThread`. Must not raise."""


class HttpThread:
    """Sends the requests of `source` to `target`, up to `connections` at a time.

    Connections are kept open between requests. With HTTP/2, requests share connections. `clock` returns monotonic
    seconds.

    If libcurl sends a request on a connection that the receiver has closed, libcurl can send the request again.
    `HttpThread` allows this repetition in two cases only: shortly after the receiver has closed another connection, and
    with HTTP/2, because a receiver with HTTP/2 says which requests it has not processed. So a receiver that closes a
    connection because of a request gets this request only once.

    The thread does not end because of an error of libcurl or of this program. All requests that have no result then
    fail, and the thread continues with new connections, after a delay that `backoff` sets.
    """

    def __init__(
        self,
        *,
        name: str,
        target: Target,
        connections: int,
        source: ExchangeSource,
        backoff: Backoff,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._target = target
        self._connections = connections
        self._source = source
        self._backoff = backoff
        self._clock = clock
        self._wakeup = Wakeup()
        self._transfers: Transfers | None = None
        self._failures = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()

    @property
    def running(self) -> int:
        """How many requests were taken from the source and have not ended. Can be read on any thread."""
        transfers = self._transfers
        return transfers.running if transfers else 0

    def wake(self) -> None:
        """Tells the thread that the source has new requests. Starts the thread if necessary. Usable on any thread.

        Raises RuntimeError if the thread can't be started.
        """
        with self._lock:
            if self._thread is None and not self._closing.is_set():
                # A daemon thread, so that the process can exit without it: when the thread ends, libcurl waits for DNS
                # lookups, which can take long.
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                thread.start()
                self._thread = thread
        self._wakeup.wake()

    def close(self) -> None:
        """Aborts all requests without calls of `Exchange.end`. Does not wait for the thread. Can be called twice."""
        with self._lock:
            self._closing.set()
            if self._thread is None:
                self._wakeup.close()
        self._wakeup.wake()

    # On the thread

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._send_requests()
            except Exception as error:  # noqa: BLE001 - outermost exception handler of the thread
                self._recover_from(error)
        if self._transfers:
            self._transfers.close()
        self._wakeup.close()

    def _send_requests(self) -> None:
        """Sends requests over new connections, until `close` is called."""
        transfers = self._transfers = Transfers(
            target=self._target, connections=self._connections, wakeup=self._wakeup, clock=self._clock
        )
        while not self._closing.is_set():
            while transfers.running < self._connections and (exchange := self._source.next_exchange()):
                transfers.add(exchange)
            transfers.run_once()
            while ended := transfers.next_result():
                self._end(*ended)
                self._failures = 0

    def _recover_from(self, error: Exception) -> None:
        """Ends all requests. Returns when new requests can be sent, or when `close` is called."""
        self._failures += 1
        delay_s = self._backoff.delay_s(self._failures)
        transfers, self._transfers = self._transfers, None
        _log.error(
            "the thread %s failed: it aborts %d requests, and goes on in %.1f s",
            self._name,
            transfers.running if transfers else 0,
            delay_s,
            exc_info=error,
        )
        if transfers:
            while ended := transfers.next_result():
                self._end(*ended)
            for exchange in transfers.close():
                self._end(exchange, internal_failure(error), 0.0)
        self._closing.wait(delay_s)

    def _end(self, exchange: Exchange, result: Response | Failure, duration_s: float) -> None:
        try:
            exchange.end(result, duration_s)
        except Exception:  # noqa: BLE001 - outermost exception handler of the request
            _log.exception("the result of a request could not be delivered")
