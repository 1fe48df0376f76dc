"""A connection whose answer leaves before its request has come whole. Runs on the event loop."""

from asyncio import Future
from typing import Any, cast

from tornado.httputil import HTTPConnection, HTTPHeaders


class EarlyResponseConnection(HTTPConnection):
    """Passes an answer on and keeps the connection open after it, until whoever reads the request's body ends it.

    Tornado would close at the end of the answer, and a close with bytes left unread is a reset, which may overtake it.
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
        """Nothing: it is not the end."""
