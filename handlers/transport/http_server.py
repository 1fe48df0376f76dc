"""Tornado's HTTP server with bounds on its connections: how many, and how long a client may take. On the event loop."""

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
from handlers.transport.guarded_stream import GuardedSSLStream, GuardedStream, Timeouts

LIMITS = Timeouts()
LOOKS_PER_LIMIT = 4
MAX_LOOK_INTERVAL_S = 1.0
ROOM_AGAIN = 0.9
"""Below this part of the limit there is said to be room again."""
STREAMS_A_TURN = 200
"""How many connections are looked at before others get their turn on the loop."""

_ALL_IN_USE = Problem(OVERLOADED, "All connections are in use; try again.", headers={"Retry-After": str(RETRY_AFTER_S)})
_log = logging.getLogger(__name__)


class BoundedHTTPServer(HTTPServer):
    """Refuses connections beyond a limit as they come, and closes those whose clients are late.

    Were the process to run out of files instead, accept(2) would fail at every turn of the loop, and so would SQLite.
    """

    _max_connections = sys.maxsize
    _is_full = False

    def initialize(
        self,
        *arguments: Any,
        clock: Callable[[], float] = time.monotonic,
        limits: Timeouts = LIMITS,
        **options: Any,
    ) -> None:
        """Takes what Tornado's HTTPServer takes but its time-outs. `clock` is monotonic, in seconds."""
        super().initialize(*arguments, **options)
        # A timer a request, which the streams make needless.
        self.conn_params.header_timeout = None
        self._limits = limits
        self._clock = clock
        self._streams: set[IOStream] = set()
        interval_s = min(MAX_LOOK_INTERVAL_S, min(limits) / LOOKS_PER_LIMIT)
        self._watch = PeriodicCallback(self.close_late, interval_s * 1_000)

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._streams)

    def limit_connections(self, count: int) -> None:
        """At most `count` connections from now on."""
        self._max_connections = count

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        if self.connections >= self._max_connections:
            self._turn_away(stream)
            return
        guarded = self._guard(stream)
        if not self._streams:
            self._watch.start()
        self._streams.add(guarded)
        super().handle_stream(guarded, address)

    def on_close(self, server_conn: object) -> None:
        self._streams.discard(cast(HTTP1ServerConnection, server_conn).stream)
        if not self._streams:
            self._watch.stop()
        # Not at once, or a crowd at the limit would have a warning for each who is turned away.
        self._is_full = self._is_full and self.connections > self._max_connections * ROOM_AGAIN
        super().on_close(server_conn)

    async def close_late(self) -> None:
        """Closes the connections whose clients are late. Called by itself while there are connections."""
        for number, stream in enumerate(list(self._streams), 1):
            if isinstance(stream, GuardedStream) and not stream.closed():
                stream.check(self._clock())
            if number % STREAMS_A_TURN == 0:
                await asyncio.sleep(0)

    def _guard(self, stream: IOStream) -> GuardedStream:
        """A guarded stream in the place of one that nobody has used."""
        kind = GuardedStream
        if isinstance(stream, SSLIOStream):
            kind = GuardedSSLStream
            # Else it would get the events of the handshake, which it has begun to wait for.
            stream.io_loop.remove_handler(stream.fileno())
        return kind(
            stream.socket,
            max_buffer_size=self.max_buffer_size,
            read_chunk_size=self.read_chunk_size,
            limits=self._limits,
        )

    def _turn_away(self, stream: IOStream) -> None:
        if not self._is_full:
            _log.warning("all %d connections are in use: new ones are refused", self._max_connections)
        self._is_full = True
        guarded = self._guard(stream)
        guarded.refuse(_ALL_IN_USE)
        guarded.close()
