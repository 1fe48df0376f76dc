"""The HTTP server: Tornado's HTTPServer with a limit on connections, time-outs, and a fast path for simple requests.

`handlers/transport/lane.py` describes the fast path, the plain lane. Runs on the event loop.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from tornado.http1connection import HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream, SSLIOStream

from handlers.problems.problem import RETRY_AFTER_S, STOPPING, Problem
from handlers.transport.connection_stream import ConnectionStream, TlsConnectionStream
from handlers.transport.lane import NO_ROOM, Lane
from handlers.transport.lane_connection import LaneConnection
from handlers.transport.lane_exits import HandOvers
from handlers.transport.lingering_close import LingeringSockets
from handlers.transport.open_connections import OpenConnections
from handlers.transport.sockets import BACKLOG, accept_waiting
from handlers.transport.timeouts import TimedConnection, Timeouts

TIMEOUTS = Timeouts()
MAX_HEAD_BYTES = 16 * 1024
"""The maximum length of a request line with its headers. Parsing this much can block the event loop for 5 ms."""
LAST_BYTES_S = 1.0
"""How long `close_all_connections` waits until responses are sent completely."""

_STOPPING = Problem(STOPPING, "The server is stopping.", headers={"Retry-After": str(RETRY_AFTER_S)})


class BoundedHTTPServer(HTTPServer):
    """Limits the number of connections, and closes connections that exceed a time-out.

    Each connection over the limit gets a 503. Without the limit, the process could run out of file descriptors. Then
    every accept(2) would fail, and SQLite could not open files.

    With a `lane` and without TLS, each connection begins as a LaneConnection. Tornado serves all other connections.
    """

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
        self._timeouts = timeouts
        self._lingering = LingeringSockets()
        self._open = OpenConnections(timeouts=timeouts, clock=clock, count_others=self._lingering.__len__)
        self._hand_overs = HandOvers()
        self._listeners: list[tuple[asyncio.Server, socket.socket]] = []

    @property
    def connections(self) -> int:
        """The number of open connections, including connections in a lingering close (see `LingeringSockets`)."""
        return len(self._open)

    def limit_connections(self, count: int) -> None:
        """Sets the maximum number of open connections to `count`."""
        self._open.limit = count

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
        self._hand_overs.end_intervals()
        while self._listeners:
            listener, opened = self._listeners.pop()
            # Closing the listening socket would reset the connections in the backlog.
            for client, address in accept_waiting(opened):
                if self._open.has_room():
                    self.take_over(client, address, b"")
                else:
                    client.close()
            listener.close()
        super().stop()

    async def close_all_connections(self) -> None:
        """Closes all connections, even if they have unanswered requests. Further connections get a 503."""
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
        """See `OpenConnections`."""
        await self._open.close_timed_out()

    async def wait_until_unused(self, timeout_s: float) -> None:
        """Waits until no connection is open, at most `timeout_s` seconds. Ignores connections in a lingering close."""
        await self._open.wait_until_unused(timeout_s)

    async def wait_for_lingering(self, timeout_s: float) -> None:
        """Waits until each lingering close has ended, at most `timeout_s` seconds."""
        await self._lingering.wait_until_closed(timeout_s)

    # Connections on the lane: the methods of `LaneServer`

    def connection_opened(self, connection: TimedConnection) -> Problem | None:
        """See `LaneServer`."""
        if self._is_closed:
            return _STOPPING
        if self._open.has_room():
            self._open.add(connection)
            return None
        return NO_ROOM

    def connection_lost(self, connection: TimedConnection) -> None:
        """See `LaneServer`."""
        self._open.discard(connection)

    def linger(self, file: int) -> None:
        """See `LaneServer`."""
        self._lingering.add(file)

    def begin_hand_over(self, hand_over: Callable[[], None]) -> None:
        """See `LaneServer`."""
        self._hand_overs.begin(hand_over)

    def take_over(self, client: socket.socket, address: tuple[Any, ...], received: bytes) -> None:
        """See `LaneServer`."""
        stream = self._wrap(client, ConnectionStream, lingering=self._lingering, received=received)
        self._open.add(stream)
        super().handle_stream(stream, address)

    # Connections that Tornado serves

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        kind = ConnectionStream
        if isinstance(stream, SSLIOStream):
            kind = TlsConnectionStream
            # Tornado's stream receives the events of the TLS handshake. The new stream must receive them instead.
            stream.io_loop.remove_handler(stream.fileno())
        if not self._open.has_room():
            # No lingering close, because it would need another file descriptor.
            connection = self._wrap(stream.socket, kind, lingering=None)
            connection.reject(NO_ROOM)
            connection.close()
            return
        connection = self._wrap(stream.socket, kind, lingering=self._lingering)
        self._open.add(connection)
        super().handle_stream(connection, address)

    def on_close(self, server_conn: object) -> None:
        self._open.discard(cast(ConnectionStream, cast(HTTP1ServerConnection, server_conn).stream))
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
