"""`python -m load.system.reference_servers NAME PORT`: runs a server that does no work, for comparison.

NAME `bare` is a Tornado server whose handlers send constant responses. `receiver` and `slow-receiver` receive webhooks:
they send a 202 whose body is the number of requests so far, and parse only the necessary parts of HTTP. `slow-receiver`
sends the 202 after 200 ms. `receiver` is faster than any client, so measurements of it show how fast the clients are.
All servers run on the same kind of event loop as `server.py`.
"""

import asyncio
import re
import signal
import socket
import sys
from functools import partial
from typing import cast

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from load.cli.command import run_to_end
from load.http.address import ServerUrl

BARE_TORNADO = "bare"
RECEIVER, SLOW_RECEIVER = "receiver", "slow-receiver"
DELAYS_S = {RECEIVER: 0.0, SLOW_RECEIVER: 0.2}
JSON = "application/json"
ACCEPTED = b'{"message": "Order processing initiated successfully", "order_id": "12345"}'
ORDER = (
    b'{"order_id": 12345, "user_id": 1, "item_ids": [101, 102, 103], "total_amount": 99.99, "status": "Completed", '
    b'"created_time": "2025-03-01 12:00:00", "processed_time": "2025-03-01 12:00:10", "attempts": 1, "error": null, '
    b'"processing_time": 10.0}'
)
RECEIVED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 12\r\n\r\n%12d"
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
BACKLOG = 2048
SECRET = "whsec_" + "c2VjcmV0" * 4


def reference_command(name: str) -> tuple[str, ...]:
    """Return the arguments of Python that run the reference server on a free port."""
    return ("-m", "load.system.reference_servers", name, "0")


def webhook_flags(receiver: ServerUrl) -> tuple[str, ...]:
    """Return the flags of a server that sends its webhooks to the receiver."""
    return ("--processor", "webhook", "--webhook-url", f"{receiver}/orders", "--webhook-secret", SECRET)


class ConstantHandler(RequestHandler):
    """Accepts every order without storing it, and returns the same order for every id."""

    def post(self) -> None:
        self.set_status(202)
        self.set_header("Content-Type", JSON)
        self.write(ACCEPTED)

    def get(self, order_id: str) -> None:
        self.set_header("Content-Type", JSON)
        self.write(ORDER)


class ReceiverConnection(asyncio.Protocol):
    """Responds to each complete request after `delay_s` seconds, with the count of requests on all connections.

    A request with a body needs a Content-Length.
    """

    received = 0

    def __init__(self, *, delay_s: float) -> None:
        self._rest = b""
        self._delay_s = delay_s

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        self._rest += data
        requests = 0
        while (blank_line := self._rest.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self._rest, 0, blank_line)
            end = blank_line + 4 + (int(length[1]) if length else 0)
            if len(self._rest) < end:
                break
            self._rest = self._rest[end:]
            requests += 1
        if not requests:
            return
        ReceiverConnection.received += requests
        response = RECEIVED % ReceiverConnection.received * requests
        if self._delay_s:
            asyncio.get_running_loop().call_later(self._delay_s, self._transport.write, response)
        else:
            self._transport.write(response)


async def serve(name: str, port: int) -> None:
    """Serve on the loopback address until SIGTERM. Port 0 selects a free port. A line on stderr has the URL."""
    [listener] = bind_sockets(port, "127.0.0.1", family=socket.AF_INET, backlog=BACKLOG)
    loop = asyncio.get_running_loop()
    if name == BARE_TORNADO:
        routes = [("/order", ConstantHandler), ("/order/([0-9]+)", ConstantHandler)]
        HTTPServer(Application(routes)).add_socket(listener)
    else:
        await loop.create_server(partial(ReceiverConnection, delay_s=DELAYS_S[name]), sock=listener, backlog=BACKLOG)
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()


if __name__ == "__main__":
    run_to_end(serve(sys.argv[1], int(sys.argv[2])))
