"""The HTTP server: Tornado's HTTPServer with a limit on connections, time-outs, and a fast path for simple requests.

`handlers/transport/lane.py` describes the fast path, the plain lane. Runs on the event loop.
"""

import asyncio
import contextlib
import logging
import socket
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from tornado.http1connection import HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.ioloop import PeriodicCallback
from tornado.iostream import IOStream, SSLIOStream

from handlers.problems.problem import RETRY_AFTER_S, STOPPING, Problem
from handlers.transport.connection_stream import ConnectionStream, TlsConnectionStream
from handlers.transport.lane import NO_ROOM, HandOvers, Lane
from handlers.transport.lane_connection import LaneConnection
from handlers.transport.lingering_close import LingeringSockets
from handlers.transport.sockets import BACKLOG, accept_waiting
from handlers.transport.timeouts import TimedConnection, Timeouts

TIMEOUTS = Timeouts()
MAX_HEAD_BYTES = 16 * 1024
"""The maximum length of a request line with its headers. Parsing this much can block the event loop for 5 ms."""
LAST_BYTES_S = 1.0
"""How long `close_all_connections` waits until responses are sent completely."""
CHECKS_PER_TIMEOUT = 4
"""How many times each connection is checked within the shortest time-out."""
MAX_CHECK_INTERVAL_S = 1.0
WARN_AGAIN_BELOW = 0.9
"""The warning that all connections are in use is not repeated until the number of open connections has fallen to this
fraction of the limit."""
CHECKS_PER_ITERATION = 200
"""How many connections `close_timed_out` checks before the event loop runs other callbacks."""

_STOPPING = Problem(STOPPING, "The server is stopping.", headers={"Retry-After": str(RETRY_AFTER_S)})
_log = logging.getLogger(__name__)


class BoundedHTTPServer(HTTPServer):
    """Limits the number of connections, and closes connections that exceed a time-out.

    Each connection over the limit gets a 503. Without the limit, the process could run out of file descriptors. Then
    every accept(2) would fail, and SQLite could not open files.

    With a `lane` and without TLS, each connection begins as a LaneConnection. Tornado serves all other connections.
    """

    _max_connections = sys.maxsize
    _is_full = False
    _is_closed = False

    def initialize(
        self,
        *arguments: Any,
        lane: Lane | None = None,
        clock: Callable[[], float] = time.monotonic,
        timeouts: Timeouts = TIMEOUTS,
        **options: Any,
    ) -> None:
        """Also takes the arguments of Tornado's HTTPServer, except its time-outs. `clock` returns monotonic seconds."""
        options.setdefault("max_header_size", MAX_HEAD_BYTES)
        super().initialize(*arguments, **options)
        # Tornado's own time-out needs a timer for each request. `close_timed_out` replaces it.
        self.conn_params.header_timeout = None
        self._lane = lane
        self._clock = clock
        self._timeouts = timeouts
        self._open: set[TimedConnection] = set()
        self._unused = asyncio.Event()
        self._unused.set()
        self._lingering = LingeringSockets()
        self._hand_overs = HandOvers()
        self._listeners: list[tuple[asyncio.Server, socket.socket]] = []
        interval_s = min(MAX_CHECK_INTERVAL_S, min(timeouts) / CHECKS_PER_TIMEOUT)
        self._timer = PeriodicCallback(self.close_timed_out, interval_s * 1_000)

    @property
    def connections(self) -> int:
        """The number of open connections, including those in a lingering close (see `LingeringSockets`)."""
        return len(self._open) + len(self._lingering)

    def limit_connections(self, count: int) -> None:
        """Sets the maximum number of open connections to `count`."""
        self._max_connections = count

    async def listen_on(self, sockets: Sequence[socket.socket]) -> None:
        """Accepts connections on the sockets until `stop` is called."""
        lane = self._lane
        if lane is None or self.ssl_options is not None:
            self.add_sockets(sockets)
            return

        def new_connection() -> LaneConnection:
            return LaneConnection(lane, server=self, timeouts=self._timeouts)

        loop = asyncio.get_running_loop()
        for each in sockets:
            # asyncio's own event loop accepts as many connections as `backlog` says in one iteration, before
            # `connection_opened` counts any of them. If they exceeded the limit on open files, asyncio would log
            # thousands of errors. `each.listen` sets the backlog of the socket.
            self._listeners.append((await loop.create_server(new_connection, sock=each, backlog=1), each))
            each.listen(BACKLOG)

    def stop(self) -> None:
        """Stops listening. With a lane, first accepts the connections that wait in the backlog. Can be called twice."""
        while self._listeners:
            listener, opened = self._listeners.pop()
            # Closing the listening socket would reset the connections in the backlog.
            for client, address in accept_waiting(opened):
                if self._has_room():
                    self.take_over(client, address, b"")
                else:
                    client.close()
            listener.close()
        super().stop()

    async def close_all_connections(self) -> None:
        """Closes all connections, even those with unanswered requests. Further connections get a 503."""
        self._is_closed = True
        for connection in self._lane_connections():
            connection.close()
        await super().close_all_connections()
        self._lingering.close()
        await self.wait_until_unused(LAST_BYTES_S)
        for connection in self._lane_connections():
            connection.abort()

    def _lane_connections(self) -> list[LaneConnection]:
        return [each for each in self._open if isinstance(each, LaneConnection)]

    async def close_timed_out(self) -> None:
        """Closes the connections that exceed a time-out. A timer calls this method while connections are open."""
        for number, connection in enumerate(list(self._open), 1):
            try:
                connection.check_timeouts(self._clock())
            except Exception:  # noqa: BLE001 - the other connections must still be checked
                _log.exception("the time-outs of a connection could not be checked")
            if number % CHECKS_PER_ITERATION == 0:
                await asyncio.sleep(0)

    async def wait_until_unused(self, timeout_s: float) -> None:
        """Waits until no connection is open, at most `timeout_s` seconds. Ignores connections in a lingering close."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._unused.wait(), timeout_s)

    async def wait_for_lingering(self, timeout_s: float) -> None:
        """Waits until each lingering close has ended, at most `timeout_s` seconds."""
        await self._lingering.wait_until_closed(timeout_s)

    # Connections on the lane: the methods of `LaneServer`

    def connection_opened(self, connection: TimedConnection) -> Problem | None:
        """See `LaneServer`."""
        if self._is_closed:
            return _STOPPING
        if self._has_room():
            self._count(connection)
            return None
        return NO_ROOM

    def connection_lost(self, connection: TimedConnection) -> None:
        """See `LaneServer`."""
        self._count_no_more(connection)

    def linger(self, file: int) -> None:
        """See `LaneServer`."""
        self._lingering.add(file)

    def begin_hand_over(self, hand_over: Callable[[], None]) -> None:
        """See `LaneServer`."""
        self._hand_overs.begin(hand_over)

    def take_over(self, client: socket.socket, address: tuple[Any, ...], received: bytes) -> None:
        """See `LaneServer`."""
        stream = self._wrap(client, ConnectionStream, lingering=self._lingering, received=received)
        self._count(stream)
        super().handle_stream(stream, address)

    # Connections that Tornado serves

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        kind = ConnectionStream
        if isinstance(stream, SSLIOStream):
            kind = TlsConnectionStream
            # Tornado's stream receives the events of the TLS handshake. The new stream must receive them instead.
            stream.io_loop.remove_handler(stream.fileno())
        if not self._has_room():
            # No lingering close, because it would need another file descriptor.
            connection = self._wrap(stream.socket, kind, lingering=None)
            connection.reject(NO_ROOM)
            connection.close()
            return
        connection = self._wrap(stream.socket, kind, lingering=self._lingering)
        self._count(connection)
        super().handle_stream(connection, address)

    def on_close(self, server_conn: object) -> None:
        self._count_no_more(cast(ConnectionStream, cast(HTTP1ServerConnection, server_conn).stream))
        super().on_close(server_conn)

    def _wrap(
        self,
        client: socket.socket,
        kind: type[ConnectionStream],
        *,
        lingering: LingeringSockets | None,
        received: bytes = b"",
    ) -> ConnectionStream:
        """Makes a stream of the class `kind` for the socket `client`. No other stream may use this socket."""
        return kind(
            client,
            max_buffer_size=self.max_buffer_size,
            read_chunk_size=self.read_chunk_size,
            timeouts=self._timeouts,
            lingering=lingering,
            received=received,
        )

    # The number of connections

    def _has_room(self) -> bool:
        has_room = self.connections < self._max_connections
        if not has_room:
            if not self._is_full:
                _log.warning("all %d connections are in use: new ones are rejected", self._max_connections)
            self._is_full = True
        return has_room

    def _count(self, connection: TimedConnection) -> None:
        if not self._open:
            self._timer.start()
            self._unused.clear()
        self._open.add(connection)

    def _count_no_more(self, connection: TimedConnection) -> None:
        self._open.discard(connection)
        if not self._open:
            self._timer.stop()
            self._unused.set()
        # `_is_full` suppresses further warnings. If it became false as soon as one connection is free, there could be
        # a warning for each rejected client.
        self._is_full = self._is_full and self.connections > self._max_connections * WARN_AGAIN_BELOW
