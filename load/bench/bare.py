"""`python -m load.bench.bare`: Tornado with handlers that do nothing, as the measure that the server is held against.

It answers what the server answers, from constants, in one process and on the kind of event loop that the server has.
"""

import argparse
import asyncio
import signal
import sys

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from load.system.machine import run_to_end

JSON = "application/json"
ACCEPTED = b'{"message": "Order processing initiated successfully", "order_id": "12345"}'
ORDER = (
    b'{"order_id": 12345, "user_id": 1, "item_ids": [101, 102, 103], "total_amount": 99.99, "status": "Completed", '
    b'"created_time": "2025-03-01 12:00:00", "processed_time": "2025-03-01 12:00:10", "attempts": 1, "error": null, '
    b'"processing_time": 10.0}'
)


class AcceptHandler(RequestHandler):
    """Accepts anything and keeps nothing."""

    def post(self) -> None:
        self.set_status(202)
        self.set_header("Content-Type", JSON)
        self.write(ACCEPTED)


class FixedOrderHandler(RequestHandler):
    """Gives the same order for every id."""

    def get(self, order_id: str) -> None:
        self.set_header("Content-Type", JSON)
        self.write(ORDER)


async def serve(port: int) -> None:
    """Serve on the loopback until SIGTERM; port 0 takes a free one, the line on stderr says which."""
    sockets = bind_sockets(port, "127.0.0.1", backlog=2048)
    HTTPServer(Application([("/order", AcceptHandler), ("/order/([0-9]+)", FixedOrderHandler)])).add_sockets(sockets)
    print(f"listening on http://127.0.0.1:{sockets[0].getsockname()[1]}", file=sys.stderr, flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()


def main() -> None:
    """Serve until a signal ends the process."""
    parser = argparse.ArgumentParser(prog="python -m load.bench.bare", description=__doc__)
    parser.add_argument("--port", type=int, default=8081)
    run_to_end(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
