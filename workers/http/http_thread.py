"""Sends requests over libcurl's multi interface. One thread drives all connections.

libcurl calls callbacks that say which sockets it waits for, and until when. This thread waits with `select.poll`,
because it needs no system call when the set of sockets changes, and has no limit on the numbers of descriptors.
"""

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import pycurl

from workers.http.messages import Failure, Request, Response
from workers.http.target import Target
from workers.http.transfer import Transfer

MAX_WAIT_S = 60.0
UNCHECKED_S = 1.0
"""After libcurl has checked a connection, it uses the connection for this number of seconds without checking again
whether the receiver has closed it."""

_EVENTS = {
    pycurl.POLL_IN: select.POLLIN,
    pycurl.POLL_OUT: select.POLLOUT,
    pycurl.POLL_INOUT: select.POLLIN | select.POLLOUT,
}
_MILLISECONDS = 1_000


class Exchange(Protocol):
    """A request, and a method that receives its result. Used on the thread of `HttpThread`. Must not raise."""

    request: Request

    def end(self, result: Response | Failure, duration_s: float, /) -> None:
        """Called once, when the request has ended."""


class ExchangeSource(Protocol):
    """Supplies an `HttpThread` with requests."""

    def next_exchange(self) -> Exchange | None:
        """The next request; None if there is none now. Called on the thread of `HttpThread`. Must not raise."""


class HttpThread:
    """Sends the requests of `source` to `target`, up to `connections` at a time.

    Connections are kept open between requests. With HTTP/2, requests share connections. `clock` returns monotonic
    seconds.

    If libcurl sends a request on a connection that the receiver has closed, libcurl can send the request again. This is
    allowed in two cases only: shortly after the receiver has closed another connection, and with HTTP/2, because such a
    receiver tells which requests it has not processed. So a receiver that closes a connection because of a request gets
    this request only once.
    """

    def __init__(
        self,
        *,
        name: str,
        target: Target,
        connections: int,
        source: ExchangeSource,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._target = target
        self._connections = connections
        self._source = source
        self._clock = clock
        self._free: list[Transfer] = []
        self._running: dict[pycurl.Curl, tuple[Transfer, Exchange, float]] = {}
        self._due_s: float | None = None
        self._has_http2 = False
        self._idle: set[int] = set()
        self._closed_until_s = 0.0
        self._poll = select.poll()
        self._wakeup, self._waker = socket.socketpair()
        for each in (self._wakeup, self._waker):
            each.setblocking(False)
        self._poll.register(self._wakeup, select.POLLIN)
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, connections)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_awake = False
        self._is_closed = False

    @property
    def running(self) -> int:
        """How many requests have been sent and have not ended. Can be read on any thread."""
        return len(self._running)

    def wake(self) -> None:
        """Tells the thread that the source has new requests. Starts the thread if necessary. Usable on any thread.

        Raises RuntimeError if the thread can't be started.
        """
        with self._lock:
            if self._thread is None and not self._is_closed:
                # The process does not wait for it: at the end, libcurl waits for DNS lookups, which can take long.
                thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                thread.start()
                self._thread = thread
        self._wake()

    def close(self) -> None:
        """Aborts all requests without calls of `Exchange.end`. Does not wait for the thread. Can be called twice."""
        with self._lock:
            self._is_closed = True
            if self._thread is None:
                self._release()
        self._wake()

    def _wake(self) -> None:
        if not self._is_awake:
            self._is_awake = True
            with contextlib.suppress(OSError):  # the thread has ended
                self._waker.send(b"\0")

    def _run(self) -> None:
        while not self._is_closed:
            # Taken before the poll, which finds connections that the receiver has closed.
            new = self._next_exchanges()
            for descriptor, events in self._poll.poll(0 if new else self._wait_s() * _MILLISECONDS):
                self._on_event(descriptor, events)
            self._begin(new)
            if self._due_s is not None and self._due_s <= self._clock():
                self._due_s = None
                self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
            self._end_requests()
        self._release()

    def _wait_s(self) -> float:
        return MAX_WAIT_S if self._due_s is None else max(0.0, self._due_s - self._clock())

    def _on_event(self, descriptor: int, events: int) -> None:
        if descriptor == self._wakeup.fileno():
            self._wakeup.recv(64)
            # From now on, `wake` sends again. Requests are taken from the source after this.
            self._is_awake = False
            return
        if descriptor in self._idle:
            self._on_idle_event(descriptor, events)
            return
        mask = pycurl.CSELECT_OUT if events & select.POLLOUT else 0
        if events & ~select.POLLOUT:  # libcurl finds an error by reading
            mask |= pycurl.CSELECT_IN
        self._multi.socket_action(descriptor, mask)

    def _on_socket(self, wanted: int, descriptor: int, _multi: Any, _data: Any) -> None:
        if wanted == pycurl.POLL_REMOVE:
            self._idle.add(descriptor)
            self._poll.register(descriptor, select.POLLIN)
        else:
            self._idle.discard(descriptor)
            self._poll.register(descriptor, _EVENTS[wanted])

    def _on_idle_event(self, descriptor: int, events: int) -> None:
        """Handles that an idle connection was closed, by the receiver or by libcurl. libcurl does not report this."""
        self._idle.remove(descriptor)
        self._poll.unregister(descriptor)
        if not events & select.POLLNVAL:
            self._closed_until_s = self._clock() + UNCHECKED_S

    def _on_timer(self, timeout_ms: int) -> None:
        self._due_s = None if timeout_ms < 0 else self._clock() + timeout_ms / _MILLISECONDS

    def _next_exchanges(self) -> list[Exchange]:
        new: list[Exchange] = []
        while len(self._running) + len(new) < self._connections and (exchange := self._source.next_exchange()):
            new.append(exchange)
        return new

    def _begin(self, new: Sequence[Exchange]) -> None:
        now_s = self._clock()
        can_repeat = self._has_http2 or now_s < self._closed_until_s
        for exchange in new:
            transfer = self._free.pop() if self._free else Transfer(self._target)
            transfer.prepare(exchange.request, can_repeat=can_repeat)
            self._running[transfer.handle] = (transfer, exchange, now_s)
            self._multi.add_handle(transfer.handle)

    def _end_requests(self) -> None:
        more, ended = 1, []
        while more:
            more, succeeded, failed = self._multi.info_read()
            ended += [self._result_of(handle, None) for handle in succeeded]
            ended += [self._result_of(handle, (code, text)) for handle, code, text in failed]
        # Only now, because each call of pycurl passes the GIL on: another thread would be woken for each result.
        for exchange, result, duration_s in ended:
            exchange.end(result, duration_s)

    def _result_of(
        self, handle: pycurl.Curl, error: tuple[int, str] | None
    ) -> tuple[Exchange, Response | Failure, float]:
        transfer, exchange, begin_s = self._running.pop(handle)
        self._multi.remove_handle(handle)
        if self._target.is_https and not error:
            self._has_http2 = transfer.has_used_http2
        result = transfer.result_after(*error) if error else transfer.response()
        self._free.append(transfer)
        return exchange, result, self._clock() - begin_s

    def _release(self) -> None:
        for handle in self._running:
            self._multi.remove_handle(handle)
        for transfer in (*self._free, *(transfer for transfer, _, _ in self._running.values())):
            transfer.handle.close()
        self._free.clear()
        self._running.clear()
        self._multi.close()
        self._wakeup.close()
        self._waker.close()
