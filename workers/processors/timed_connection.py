"""HTTP connections with a deadline for the whole response. Runs on worker threads, one at a time for each connection.

The time-out of a socket begins again with each received byte. Without a deadline for the whole response, a receiver
that sends a byte now and then could block a thread without limit.
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
    """Reads from a socket until `deadline_s` (in seconds, of `time.monotonic`), then raises TimeoutError."""

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
    """A response that must be complete by `deadline_s` (in seconds, of `time.monotonic`)."""

    def __init__(self, sock: socket.socket, *arguments: Any, deadline_s: float, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp.close()
        self.fp = io.BufferedReader(_TimedStream(sock, deadline_s))

    def begin(self) -> None:
        super().begin()
        # http.client would treat 102 and 103 as the response, but they are informational (RFC 9110 §15.2).
        while 100 <= self.status < 200 and self.status != HTTPStatus.SWITCHING_PROTOCOLS:
            no_headers: Any = None
            self.headers = self.msg = no_headers
            super().begin()


class _TimedConnection(HTTPConnection):
    """A connection whose time-out includes the whole response."""

    def request(self, *arguments: Any, **options: Any) -> None:
        if self.sock is not None:
            # Reading the previous response has reduced the time-out of the socket: see `_TimedStream.readinto`.
            self.sock.settimeout(self.timeout)
        super().request(*arguments, **options)

    def getresponse(self) -> Any:
        # urllib3 has set `timeout` to the time that is left of the request's total time-out (urllib3.Timeout).
        deadline_s = time.monotonic() + (self.timeout or 0.0)
        response_class: Any = functools.partial(_TimedResponse, deadline_s=deadline_s)
        self.response_class = response_class
        return super().getresponse()


class _TimedHttpsConnection(_TimedConnection, HTTPSConnection):
    pass


class TimedHttpPool(HTTPConnectionPool):
    """A pool of HTTP connections. The `total` of a request's time-out includes the whole response."""

    ConnectionCls = _TimedConnection


class TimedHttpsPool(HTTPSConnectionPool):
    """The same as TimedHttpPool, for HTTPS."""

    ConnectionCls = _TimedHttpsConnection
