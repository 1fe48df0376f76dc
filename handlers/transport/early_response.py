"""A connection on which the response is sent before the request's body has been read completely. On the event loop."""

from asyncio import Future
from typing import Any, cast

from tornado.httputil import HTTPConnection, HTTPHeaders


class EarlyResponseConnection(HTTPConnection):
    """Writes the response but does not finish it: the connection stays open until the rest of the body has been read.

    Tornado would close the connection after the response. A close with unread bytes sends a reset, which may overtake
    the response. The exchange that reads the body finishes the underlying connection.
    """

    def __init__(self, connection: HTTPConnection) -> None:
        self._connection = cast(Any, connection)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def write_headers(self, start_line: Any, headers: HTTPHeaders, chunk: bytes | None = None) -> "Future[None]":
        written: Future[None] = self._connection.write_headers(start_line, headers, chunk)
        return written

    def write(self, chunk: bytes) -> "Future[None]":
        written: Future[None] = self._connection.write(chunk)
        return written

    def finish(self) -> None:
        """Does nothing."""
