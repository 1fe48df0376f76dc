"""The HTTP API: builds the routes, starts the HTTP server and stops it. Runs on the event loop."""

import asyncio
import socket
import ssl
import time
from collections.abc import Sequence

from handlers.logs.access_log import AccessLog
from handlers.requests.body_limit import MAX_BUFFERED_BYTES, MAX_DISCARDED_BYTES
from handlers.routes import build_plain_router, build_router, read_pages
from handlers.security.request_guard import Guard
from handlers.service import Service
from handlers.telemetry import Telemetry
from handlers.transport.http_server import BoundedHTTPServer
from handlers.transport.in_flight import InFlightRequests
from handlers.transport.lane import IterationBudget, Lane
from handlers.transport.sockets import max_connections

LAST_REQUESTS_S = 0.1
"""How long a drain waits for new requests on open connections, after it has sent the last response."""
LAST_RESPONSES_S = 1.0
"""How long `close` waits for the last responses, such as the 503 for orders that the closed service did not store."""


class HttpApi:
    """Serves HTTP, or HTTPS if `tls` is given, from `listen` until `close`.

    `max_buffered_bytes` limits what all `POST /orders` requests buffer: see `BulkEndpoint`. The constructor raises
    DashboardBrokenError and AssetsMissingError.
    """

    def __init__(
        self,
        *,
        service: Service,
        telemetry: Telemetry,
        guard: Guard,
        access_log: AccessLog | None = None,
        in_flight: InFlightRequests,
        version: str,
        has_keys: bool = False,
        tls: ssl.SSLContext | None = None,
        max_buffered_bytes: int = MAX_BUFFERED_BYTES,
    ) -> None:
        self._telemetry = telemetry
        self._in_flight = in_flight
        pages = read_pages(version=version, has_keys=has_keys)
        self.router = build_router(
            service=service,
            telemetry=telemetry,
            guard=guard,
            access_log=access_log,
            in_flight=in_flight,
            pages=pages,
            max_buffered_bytes=max_buffered_bytes,
        )
        # If a body is longer than `max_body_size`, Tornado closes the connection without a response. BodyLimit rejects
        # the request at half this length.
        self._server = BoundedHTTPServer(
            self.router,
            lane=Lane(
                build_plain_router(service=service, telemetry=telemetry, guard=guard, in_flight=in_flight, pages=pages),
                in_flight,
                IterationBudget(clock=time.perf_counter),
                access_log,
            ),
            clock=time.monotonic,
            max_body_size=2 * MAX_DISCARDED_BYTES,
            ssl_options=tls,
        )

    async def listen(self, sockets: Sequence[socket.socket], *, file_limit: int) -> None:
        """Accepts connections from `sockets`. `file_limit`, the limit on open files, also limits open connections."""
        await self._server.listen_on(sockets)
        # Called after `listen_on`, which opens files, because `max_connections` subtracts the open files.
        self._server.limit_connections(max_connections(file_limit, asyncio.get_running_loop()))

    def replace_tls(self, tls: ssl.SSLContext) -> None:
        """Uses this context for new connections. The server must already serve HTTPS."""
        self._server.ssl_options = tls

    def announce_stop(self) -> None:
        """From now on, `/readyz` responds with 503. All other requests are served as before, until `drain`."""
        self._in_flight.is_stop_announced = True

    async def drain(self, timeout_s: float) -> None:
        """Stops accepting connections, then waits up to `timeout_s` seconds until all responses are sent."""
        self._server.stop()
        end_s = time.monotonic() + timeout_s
        await self._in_flight.drain(timeout_s)
        if (left_s := end_s - time.monotonic()) > LAST_REQUESTS_S:
            # A client that got a response just before the drain may send one more request on its connection.
            await self._server.wait_until_unused(LAST_REQUESTS_S)
            await self._in_flight.drain(left_s - LAST_REQUESTS_S)
        await self._server.wait_for_lingering(max(0.0, end_s - time.monotonic()))

    async def close(self) -> None:
        """Waits for the last responses, then closes the event streams and all connections. Safe to call twice."""
        await self._in_flight.drain(LAST_RESPONSES_S)
        await self._server.wait_for_lingering(LAST_RESPONSES_S)
        self._telemetry.close()
        await self._server.close_all_connections()
