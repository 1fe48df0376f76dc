"""HTTP connections whose answers have a deadline as a whole. On the worker threads, each connection on one at a time.

A socket's time-out counts from the last byte that came: a receiver that sends a byte now and then would hold a thread
for as long as it likes.
"""

import functools
import http.client
import io
import socket
import time
from http import HTTPStatus
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class _TimedStream(io.RawIOBase):
    """What comes from a socket, until `deadline_s` (monotonic, in seconds); then TimeoutError."""

    def __init__(self, sock: socket.socket, deadline_s: float) -> None:
        self._sock = sock
        self._deadline_s = deadline_s
        self._stream = sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(left_s)
        return self._stream.readinto(buffer)

    def close(self) -> None:
        self._stream.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, deadline_s: float, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp.close()
        self.fp = io.BufferedReader(_TimedStream(sock, deadline_s))

    def begin(self) -> None:
        super().begin()
        # What http.client takes for the answer is only news of it (RFC 9110 §15.2).
        while 100 <= self.status < 200 and self.status != HTTPStatus.SWITCHING_PROTOCOLS:
            nothing_yet: Any = None
            self.headers = self.msg = nothing_yet
            super().begin()


class _Timed(HTTPConnection):
    def request(self, *arguments: Any, **options: Any) -> None:
        if self.sock is not None:
            # It may have next to nothing left from the answer before.
            self.sock.settimeout(self.timeout)
        super().request(*arguments, **options)

    def getresponse(self) -> Any:
        # What is left of the request's time as a whole: see urllib3.Timeout.
        deadline_s = time.monotonic() + (self.timeout or 0.0)
        response_class: Any = functools.partial(_TimedResponse, deadline_s=deadline_s)
        self.response_class = response_class
        return super().getresponse()


class _TimedHttps(_Timed, HTTPSConnection):
    pass


class TimedHttpPool(HTTPConnectionPool):
    """A pool for http; the `total` of a request's time-out holds for the whole answer."""

    ConnectionCls = _Timed


class TimedHttpsPool(HTTPSConnectionPool):
    """The same for https."""

    ConnectionCls = _TimedHttps
