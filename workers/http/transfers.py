"""Requests in progress over libcurl's multi interface. Runs on the thread of `HttpThread`.

libcurl calls callbacks with the sockets that it waits for, and with the time until which it waits. `Transfers` waits
with `select.poll`, because it needs no system call when the set of sockets changes, and has no limit on the numbers of
descriptors.
"""

import contextlib
import logging
import select
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import pycurl

from workers.http.messages import Failure, FailureKind, Request, Response
from workers.http.target import Target
from workers.http.transfer import Transfer
from workers.http.wakeup import Wakeup

MAX_WAIT_S = 60.0
UNCHECKED_S = 1.0
"""After libcurl has checked a connection, it uses the connection for this number of seconds without checking again
whether the receiver has closed it."""

_EVENTS = {
    pycurl.POLL_IN: select.POLLIN,
    pycurl.POLL_OUT: select.POLLOUT,
    pycurl.POLL_INOUT: select.POLLIN | select.POLLOUT,
    pycurl.POLL_REMOVE: select.POLLIN,  # the connection is idle
}
_MILLISECONDS = 1_000

_log = logging.getLogger(__name__)


class Exchange(Protocol):
    """A request, and a method that receives its result. Used on the thread of `HttpThread`."""

    request: Request

    def end(self, result: Response | Failure, duration_s: float, /) -> None:
        """Called once, when the request has ended. Must not raise."""


class Transfers:
    """Sends requests to `target`, and keeps connections open between requests. `clock` returns monotonic seconds.

    `connections` is the number of connections that are kept open. The caller decides how many requests are added at a
    time. `wakeup` ends `run_once`. After a method has raised, only `running`, `next_result` and `close` can be used.
    """

    def __init__(self, *, target: Target, connections: int, wakeup: Wakeup, clock: Callable[[], float]) -> None:
        self._target = target
        self._wakeup = wakeup
        self._clock = clock
        self._new: deque[Exchange] = deque()
        self._running: dict[pycurl.Curl, tuple[Transfer, Exchange, float]] = {}
        self._ended: deque[tuple[Exchange, Response | Failure, float]] = deque()
        self._free: list[Transfer] = []
        self._due_s: float | None = None
        self._is_https = target.is_https
        self._has_http2 = False
        self._idle: set[int] = set()
        self._registered: dict[int, int] = {}
        """The events that `_poll` reports for each descriptor. Most changes of a connection do not change these
        events."""
        self._closed_until_s = 0.0
        self._poll = select.poll()
        self._poll.register(wakeup, select.POLLIN)
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, connections)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)

    @property
    def running(self) -> int:
        """How many requests have no result yet. Can be read on any thread."""
        return len(self._running) + len(self._new)

    def add(self, exchange: Exchange) -> None:
        """The next call of `run_once` begins to send this request."""
        self._new.append(exchange)

    def run_once(self) -> None:
        """Handles the events that are due. If none is due, waits for the next event or for a call of `wake`."""
        # Handles the events before new requests begin, because the events show which connections the receiver has
        # closed.
        for descriptor, events in self._poll.poll(0 if self._new else self._wait_s() * _MILLISECONDS):
            self._on_event(descriptor, events)
        self._begin()
        if self._due_s is not None and self._due_s <= self._clock():
            self._due_s = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._read_results()

    def next_result(self) -> tuple[Exchange, Response | Failure, float] | None:
        """A request that has ended, its result, and its duration in seconds. None if there is no result now."""
        # `run_once` has collected all results: between calls of pycurl, which pass the GIL on, each result would wake
        # another thread.
        return self._ended.popleft() if self._ended else None

    def close(self) -> Sequence[Exchange]:
        """Aborts all requests. Returns those that have no result. Can be called twice."""
        exchanges = [*(exchange for _, exchange, _ in self._running.values()), *self._new]
        transfers = [*self._free, *(transfer for transfer, _, _ in self._running.values())]
        calls: list[Callable[[], object]] = [
            *(partial(self._multi.remove_handle, handle) for handle in self._running),
            *(each.handle.close for each in transfers),
            self._multi.close,
        ]
        for call in calls:
            with contextlib.suppress(pycurl.error):  # fails if libcurl has failed earlier
                call()
        for container in (self._free, self._running, self._new):
            container.clear()
        return exchanges

    def _wait_s(self) -> float:
        return MAX_WAIT_S if self._due_s is None else max(0.0, self._due_s - self._clock())

    def _on_event(self, descriptor: int, events: int) -> None:
        if descriptor == self._wakeup.fileno():
            self._wakeup.clear()
            return
        if descriptor in self._idle:
            self._on_idle_event(descriptor, events)
            return
        mask = pycurl.CSELECT_OUT if events & select.POLLOUT else 0
        if events & ~select.POLLOUT:  # for an error, too: libcurl must read to detect it
            mask |= pycurl.CSELECT_IN
        self._multi.socket_action(descriptor, mask)

    def _on_socket(self, wanted: int, descriptor: int, _multi: Any, _data: Any) -> None:
        if wanted == pycurl.POLL_REMOVE:
            self._idle.add(descriptor)
        else:
            self._idle.discard(descriptor)
        events = _EVENTS[wanted]
        if self._registered.get(descriptor) != events:
            self._registered[descriptor] = events
            self._poll.register(descriptor, events)

    def _on_idle_event(self, descriptor: int, events: int) -> None:
        """Detects that an idle connection was closed, by the receiver or by libcurl, which does not report this."""
        self._idle.remove(descriptor)
        self._poll.unregister(descriptor)
        del self._registered[descriptor]
        if not events & select.POLLNVAL:
            self._closed_until_s = self._clock() + UNCHECKED_S

    def _on_timer(self, timeout_ms: int) -> None:
        if timeout_ms > 0:
            self._due_s = self._clock() + timeout_ms / _MILLISECONDS
        else:
            self._due_s = None if timeout_ms < 0 else 0.0  # at once

    def _begin(self) -> None:
        now_s = self._clock()
        can_repeat = self._has_http2 or now_s < self._closed_until_s
        while self._new:
            exchange = self._new[0]
            if transfer := self._prepare(exchange, can_repeat=can_repeat):
                self._running[transfer.handle] = (transfer, exchange, now_s)
            self._new.popleft()  # only now, so that `close` returns every request that has no result
            if transfer:
                self._multi.add_handle(transfer.handle)

    def _prepare(self, exchange: Exchange, *, can_repeat: bool) -> Transfer | None:
        """A transfer that is ready to be added to the multi handle. None if the request has failed."""
        transfer = self._free.pop() if self._free else Transfer(self._target)
        try:
            transfer.prepare(exchange.request, can_repeat=can_repeat)
        except Exception as error:  # noqa: BLE001 - outermost exception handler of the request
            _log.exception("a request can't be sent")
            self._ended.append((exchange, internal_failure(error), 0.0))
            return None
        return transfer

    def _read_results(self) -> None:
        more = 1
        while more:
            more, succeeded, failed = self._multi.info_read()
            for handle in succeeded:
                self._end(handle, None)
            for handle, code, text in failed:
                self._end(handle, (code, text))

    def _end(self, handle: pycurl.Curl, error: tuple[int, str] | None) -> None:
        transfer, exchange, begin_s = self._running[handle]
        self._multi.remove_handle(handle)
        if self._is_https and not error:
            self._has_http2 = transfer.has_used_http2
        result = transfer.result_after(*error) if error else transfer.response()
        self._ended.append((exchange, result, self._clock() - begin_s))
        del self._running[handle]
        self._free.append(transfer)


def internal_failure(error: Exception) -> Failure:
    """The failure of a request that an error of this program or of libcurl has ended."""
    return Failure(FailureKind.INTERNAL, f"{type(error).__name__}: {error}")
