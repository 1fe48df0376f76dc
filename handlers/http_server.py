"""Tornado's HTTP server with a bound on its connections. Runs on the event loop."""

import logging
import sys
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream

_log = logging.getLogger(__name__)


class BoundedHTTPServer(HTTPServer):
    """Closes connections beyond a limit as they come.

    Were the process to run out of files instead, accept(2) would fail at every turn of the loop, and so would SQLite.
    """

    _max_connections = sys.maxsize
    _open = 0
    _is_full = False

    def limit_connections(self, count: int) -> None:
        """At most `count` connections from now on."""
        self._max_connections = count

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        if self._open >= self._max_connections:
            if not self._is_full:
                _log.warning("all %d connections are in use: new ones are closed", self._max_connections)
            self._is_full = True
            stream.close()
            return
        self._open += 1
        super().handle_stream(stream, address)

    def on_close(self, server_conn: object) -> None:
        self._open -= 1
        self._is_full = False
        super().on_close(server_conn)
