"""Tornado's HTTP server, with a limit on the number of connections and with time-outs. Runs on the event loop."""

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from typing import Any, cast

from tornado.http1connection import HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.ioloop import PeriodicCallback
from tornado.iostream import IOStream, SSLIOStream

from handlers.problems.problem import OVERLOADED, RETRY_AFTER_S, Problem
from handlers.transport.connection_stream import ConnectionStream, Timeouts, TlsConnectionStream
from handlers.transport.lingering_close import LingeringSockets

TIMEOUTS = Timeouts()
CHECKS_PER_TIMEOUT = 4
MAX_CHECK_INTERVAL_S = 1.0
WARN_AGAIN_BELOW = 0.9
"""The warning is logged again only after the number of connections has fallen to this fraction of the limit."""
CHECKS_PER_TURN = 200
"""How many connections are checked before the event loop runs other callbacks."""

_TOO_MANY = Problem(OVERLOADED, "All connections are in use; try again.", headers={"Retry-After": str(RETRY_AFTER_S)})
_log = logging.getLogger(__name__)


class BoundedHTTPServer(HTTPServer):
    """Rejects connections over the limit with 503, and closes connections that exceed a time-out.

    Without a limit the process could run out of file descriptors: then accept(2) would fail at every turn of the loop,
    and so would SQLite.
    """

    _max_connections = sys.maxsize
    _is_full = False

    def initialize(
        self,
        *arguments: Any,
        clock: Callable[[], float] = time.monotonic,
        timeouts: Timeouts = TIMEOUTS,
        **options: Any,
    ) -> None:
        """Takes the arguments of Tornado's HTTPServer except its time-outs. `clock` is monotonic, in seconds."""
        super().initialize(*arguments, **options)
        # It would need a timer for each request; the streams check the time instead.
        self.conn_params.header_timeout = None
        self._timeouts = timeouts
        self._clock = clock
        self._streams: set[IOStream] = set()
        self._lingering = LingeringSockets()
        interval_s = min(MAX_CHECK_INTERVAL_S, min(timeouts) / CHECKS_PER_TIMEOUT)
        self._timer = PeriodicCallback(self.close_timed_out, interval_s * 1_000)

    @property
    def connections(self) -> int:
        """How many connections are open, also those on which the server only waits for the client to close them."""
        return len(self._streams) + len(self._lingering)

    def limit_connections(self, count: int) -> None:
        """At most `count` connections from now on."""
        self._max_connections = count

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        if self.connections >= self._max_connections:
            self._reject(stream)
            return
        connection = self._wrap(stream, self._lingering)
        if not self._streams:
            self._timer.start()
        self._streams.add(connection)
        super().handle_stream(connection, address)

    def on_close(self, server_conn: object) -> None:
        self._streams.discard(cast(HTTP1ServerConnection, server_conn).stream)
        if not self._streams:
            self._timer.stop()
        # Not reset as soon as one connection is free: at the limit, every rejected client would cause a warning.
        self._is_full = self._is_full and self.connections > self._max_connections * WARN_AGAIN_BELOW
        super().on_close(server_conn)

    async def close_timed_out(self) -> None:
        """Closes the connections that exceed a time-out. Called by a timer while there are connections."""
        for number, stream in enumerate(list(self._streams), 1):
            if isinstance(stream, ConnectionStream) and not stream.closed():
                stream.check_timeouts(self._clock())
            if number % CHECKS_PER_TURN == 0:
                await asyncio.sleep(0)

    async def wait_for_lingering(self, timeout_s: float) -> None:
        """Waits until clients that were answered early have closed their connections, or for `timeout_s` seconds."""
        await self._lingering.wait_until_closed(timeout_s)

    async def close_all_connections(self) -> None:
        await super().close_all_connections()
        self._lingering.close()

    def _wrap(self, stream: IOStream, lingering: LingeringSockets | None = None) -> ConnectionStream:
        """A ConnectionStream for the socket of a stream that has not been used yet."""
        kind = ConnectionStream
        if isinstance(stream, SSLIOStream):
            kind = TlsConnectionStream
            # It has already registered for the events of the handshake, which the new stream must get.
            stream.io_loop.remove_handler(stream.fileno())
        return kind(
            stream.socket,
            max_buffer_size=self.max_buffer_size,
            read_chunk_size=self.read_chunk_size,
            timeouts=self._timeouts,
            lingering=lingering,
        )

    def _reject(self, stream: IOStream) -> None:
        if not self._is_full:
            _log.warning("all %d connections are in use: new ones are refused", self._max_connections)
        self._is_full = True
        connection = self._wrap(stream)
        connection.reject(_TOO_MANY)
        connection.close()
